import { badInput } from '../../errors.ts';
import { assertStorable } from '../text/text.input.ts';
import { characterCount } from '../text/text.rules.ts';

/** The input of a mutation that can be made exactly once. */
export interface KeyedInput {
  readonly idempotencyKey?: string | null | undefined;
}

/** What schema.graphql says of the field. */
export const IDEMPOTENCY_KEY =
  '1 to 200 characters, kept for 24 hours: the same key and input again gives the first result, another input is IDEMPOTENCY_CONFLICT.';

const MAX_KEY_LENGTH = 200;

/**
 * An idempotency key as it is, null where there is none.
 * @throws DomainError BAD_USER_INPUT where it has not 1 to 200 characters, or some that cannot be stored
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
