import { badInput } from '../../errors.ts';
import { characterCount } from './text.rules.ts';

const MAX_JSON_DEPTH = 100;

/**
 * Rejects values that Postgres would change or refuse, at any depth: NUL and lone surrogates in texts and keys, and numbers beyond a double.
 * Leave out ids: a malformed id is reported as not found.
 * @param field path of the value in the caller's arguments
 * @throws DomainError BAD_USER_INPUT with the path
 */
export function assertStorable(value: unknown, field: string, depth = 0): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw badInput(field, 'must not contain NUL (U+0000)');
    if (!value.isWellFormed()) throw badInput(field, 'must not contain a lone surrogate');
    return;
  }
  // JSON.parse reads 1e999 as Infinity, which JSON.stringify would write as null.
  if (typeof value === 'number' && !Number.isFinite(value)) throw badInput(field, 'must not hold a number beyond 1.7e308');
  if (value === null || typeof value !== 'object' || value instanceof Date) return;
  if (depth > MAX_JSON_DEPTH) throw badInput(field, `must not be nested deeper than ${MAX_JSON_DEPTH} levels`);
  for (const [key, item] of Object.entries(value)) {
    assertStorable(key, field, depth);
    assertStorable(item, `${field}.${key}`, depth + 1);
  }
}

/** A text without surrounding white space. BAD_USER_INPUT if it is blank or too long. */
export function readName(text: string, field: string, maxLength: number): string {
  const trimmed = text.trim();
  if (trimmed === '') throw badInput(field, 'must not be blank');
  return readText(trimmed, field, maxLength);
}

/** The text, unchanged. BAD_USER_INPUT if it is too long. */
export function readText(text: string, field: string, maxLength: number): string {
  if (text.length > maxLength && characterCount(text) > maxLength) {
    throw badInput(field, `must have at most ${maxLength} characters`, { maxLength });
  }
  return text;
}

/** True for a JSON object; false for an array, a scalar or null. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** Maximum size of metadata as JSON, in bytes. */
const MAX_METADATA_BYTES = 65_536;

/** Metadata as a JSON object of at most 64 KiB. Null and undefined become the empty object. */
export function readMetadata(metadata: unknown, field: string): Readonly<Record<string, unknown>> {
  if (metadata == null) return {};
  if (!isJsonObject(metadata)) throw badInput(field, 'must be a JSON object');
  assertMetadataSize(Buffer.byteLength(JSON.stringify(metadata)), field);
  return metadata;
}

/** @throws DomainError BAD_USER_INPUT if the metadata is larger than 64 KiB */
export function assertMetadataSize(bytes: number, field: string): void {
  if (bytes > MAX_METADATA_BYTES) throw badInput(field, `must have at most ${MAX_METADATA_BYTES} bytes of JSON`, { bytes });
}
