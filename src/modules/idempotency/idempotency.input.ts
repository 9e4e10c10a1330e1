import { badInput } from '../../errors.ts';
import { assertStorable } from '../text/text.input.ts';
import { characterCount } from '../text/text.rules.ts';

/** The input of a mutation that accepts an idempotency key. */
export interface KeyedInput {
  readonly idempotencyKey?: string | null | undefined;
}

/** Describes the field `idempotencyKey` in the schema. */
export const IDEMPOTENCY_KEY =
  '1 to 200 characters, kept for 24 hours. A call with the same key and input returns the result of the first call; with another input it fails with IDEMPOTENCY_CONFLICT.';

const MAX_KEY_LENGTH = 200;

/**
 * The idempotency key of an input. Null if there is none.
 * @throws DomainError BAD_USER_INPUT if it is empty, longer than 200 characters, or has characters that Postgres cannot store
 */
export function readIdempotencyKey({ idempotencyKey: key }: KeyedInput): string | null {
  if (key == null) return null;
  const field = 'input.idempotencyKey';
  assertStorable(key, field);
  if (key === '' || characterCount(key) > MAX_KEY_LENGTH) {
    throw badInput(field, `must have 1 to ${MAX_KEY_LENGTH} characters`, { maxLength: MAX_KEY_LENGTH });
  }
  return key;
}
