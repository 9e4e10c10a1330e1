import { badInput } from '../../errors.ts';
import { characterCount } from './text.rules.ts';

const MAX_JSON_DEPTH = 100;

/**
 * Refuses what would be changed or not stored: NUL and lone surrogates, in texts and in keys, and numbers beyond a double, however deep.
 * Ids are to be left out: a malformed one names nothing, which is another failure.
 * @param field path of the value as the caller wrote it
 * @throws DomainError BAD_USER_INPUT naming the path
 */
export function assertStorable(value: unknown, field: string, depth = 0): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw badInput(field, 'must not contain NUL (U+0000)');
    if (!value.isWellFormed()) throw badInput(field, 'must not contain a lone surrogate');
    return;
  }
  // JSON.parse makes Infinity of 1e999, and JSON.stringify null of Infinity.
  if (typeof value === 'number' && !Number.isFinite(value)) throw badInput(field, 'must not hold a number beyond 1.7e308');
  if (value === null || typeof value !== 'object' || value instanceof Date) return;
  if (depth > MAX_JSON_DEPTH) throw badInput(field, `must not be nested deeper than ${MAX_JSON_DEPTH} levels`);
  for (const [key, item] of Object.entries(value)) {
    assertStorable(key, field, depth);
    assertStorable(item, `${field}.${key}`, depth + 1);
  }
}

/** A text of at most so many characters, trimmed; blank is BAD_USER_INPUT. */
export function readName(text: string, field: string, maxLength: number): string {
  const trimmed = text.trim();
  if (trimmed === '') throw badInput(field, 'must not be blank');
  return readText(trimmed, field, maxLength);
}

/** A text of at most so many characters, as it is. */
export function readText(text: string, field: string, maxLength: number): string {
  if (text.length > maxLength && characterCount(text) > maxLength) {
    throw badInput(field, `must have at most ${maxLength} characters`, { maxLength });
  }
  return text;
}

/** True for a JSON object, as against an array, a scalar or null. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** Most bytes of the JSON of a metadata field. */
const MAX_METADATA_BYTES = 65_536;

/** Metadata as a JSON object of at most 64 KiB; null and left out are the empty object. */
export function readMetadata(metadata: unknown, field: string): Readonly<Record<string, unknown>> {
  if (metadata == null) return {};
  if (!isJsonObject(metadata)) throw badInput(field, 'must be a JSON object');
  assertMetadataSize(Buffer.byteLength(JSON.stringify(metadata)), field);
  return metadata;
}

/** @throws DomainError BAD_USER_INPUT where metadata would be larger than 64 KiB */
export function assertMetadataSize(bytes: number, field: string): void {
  if (bytes > MAX_METADATA_BYTES) throw badInput(field, `must have at most ${MAX_METADATA_BYTES} bytes of JSON`, { bytes });
}
