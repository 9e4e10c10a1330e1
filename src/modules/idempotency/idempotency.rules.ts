import { createHash } from 'node:crypto';

/** How long a key stands for its first call. */
export const KEPT_HOURS = 24;

/** Deeper than anything a service takes: what lies below is refused in any case, and never kept under its hash. */
const MAX_DEPTH = 200;

/**
 * A text that two calls share if they ask for the same: names in any order, instants as themselves. A field that was left out is
 * not one that is null.
 */
export function callHash(field: string, input: object): string {
  return hashOf(canonicalText([field, input], 0));
}

/** What stands for a viewer beside a key: ids may be longer than an index takes, hold what cannot be stored, or name a person. */
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
