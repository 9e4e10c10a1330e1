import { createHash } from 'node:crypto';

/** How long a key is kept. */
export const KEPT_HOURS = 24;

/** Maximum depth that is hashed. Services reject input that is nested more deeply, so its hash is never stored. */
const MAX_DEPTH = 200;

/**
 * A hash that is equal for calls of the same field with the same input. The order of object keys does not matter. A field that is left out
 * differs from a field that is null.
 */
export function callHash(field: string, input: object): string {
  return hashOf(canonicalText([field, input], 0));
}

/** A hash of a viewer's id. The id itself is not stored: it may be too long for an index, have unstorable characters, or name a person. */
export function viewerHash(viewerId: string): string {
  return hashOf(viewerId);
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function canonicalText(value: unknown, depth: number): string {
  if (value === null || typeof value !== 'object' || value instanceof Date) return JSON.stringify(value) ?? 'null';
  if (depth > MAX_DEPTH) return '';
  if (Array.isArray(value)) return `[${value.map(item => canonicalText(item, depth + 1)).join()}]`;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  const texts = entries.map(([name, item]) => `${JSON.stringify(name)}:${canonicalText(item, depth + 1)}`);
  return `{${texts.sort().join()}}`;
}
