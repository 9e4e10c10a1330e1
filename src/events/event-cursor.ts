import { DomainError } from '../errors.ts';

const DECODED_CURSOR = /^e1:(0|[1-9]\d{0,18})$/;

const MAX_SEQ = 2n ** 63n - 1n;

/** The cursor of a position in the event log. It is valid with any filter. */
export function encodeEventCursor(seq: bigint): string {
  return Buffer.from(`e1:${seq}`).toString('base64url');
}

/** The position of an event cursor. Null if the text is not an event cursor. */
export function decodeEventCursor(text: string): bigint | null {
  const digits = DECODED_CURSOR.exec(Buffer.from(text, 'base64url').toString('latin1'))?.[1];
  if (digits === undefined) return null;
  const seq = BigInt(digits);
  // Buffer ignores characters that are not base64url, so accept only a text that encodes back to itself.
  return seq <= MAX_SEQ && encodeEventCursor(seq) === text ? seq : null;
}

/**
 * The position of an event cursor.
 * @param field the argument that the caller passed it as
 * @throws DomainError BAD_CURSOR if the text is not an event cursor
 */
export function readEventCursor(text: string, field: string): bigint {
  const seq = decodeEventCursor(text);
  if (seq === null) throw badEventCursor(field);
  return seq;
}

/** BAD_CURSOR: the cursor is malformed, or beyond the end of the log, as a cursor of another database can be. */
export function badEventCursor(field: string): DomainError {
  return new DomainError('BAD_CURSOR', `${field} is not a cursor of this event log.`, { field });
}
