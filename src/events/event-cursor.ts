import { DomainError } from '../errors.ts';

const FORM = /^e1:(0|[1-9]\d{0,18})$/;

const HIGHEST_SEQ = 2n ** 63n - 1n;

/** The cursor of a place in the event log; it goes with any filter. */
export function encodeEventCursor(seq: bigint): string {
  return Buffer.from(`e1:${seq}`).toString('base64url');
}

/** The place an event cursor stands for; null for any other text. */
export function decodeEventCursor(text: string): bigint | null {
  const digits = FORM.exec(Buffer.from(text, 'base64url').toString('latin1'))?.[1];
  if (digits === undefined) return null;
  const seq = BigInt(digits);
  // Buffer skips characters that are not base64url: what does not come out the same was not one of ours.
  return seq <= HIGHEST_SEQ && encodeEventCursor(seq) === text ? seq : null;
}

/**
 * The place an event cursor stands for.
 * @param field the argument it was given as
 * @throws DomainError BAD_CURSOR for any other text
 */
export function readEventCursor(text: string, field: string): bigint {
  const seq = decodeEventCursor(text);
  if (seq === null) throw badEventCursor(field);
  return seq;
}

/** BAD_CURSOR: malformed, or ahead of the log as a cursor of another store may be. */
export function badEventCursor(field: string): DomainError {
  return new DomainError('BAD_CURSOR', `${field} is not a cursor of this event log.`, { field });
}
