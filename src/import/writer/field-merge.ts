import { createHash } from 'node:crypto';
import { canonicalJson } from '../canonical-json.ts';

/** Hashes of the values at the last import, by field name. */
export type FieldHashes = Readonly<Record<string, string>>;

/** What a re-import does with one field. */
export type FieldDecision = 'unchanged' | 'apply' | 'keep edit';

/** A short hash of a JSON value. Undefined and null have the same hash. */
export function hashValue(value: unknown): string {
  return createHash('sha256')
    .update(canonicalJson(value ?? null))
    .digest('base64url')
    .slice(0, 16);
}

/**
 * Decides whether the source's value of a field replaces the stored one: only if the source changed it since the last import and nobody
 * edited it here.
 * @param recorded hash of the source's value at the last import; undefined if the field was empty then
 * @param stored the value in our database
 * @param source the value at the source
 */
export function decideField(recorded: string | undefined, stored: unknown, source: unknown): FieldDecision {
  const before = recorded ?? hashValue(null);
  const now = hashValue(source);
  if (now === before) return 'unchanged';
  const here = hashValue(stored);
  // The edit here has set the value that the source has now.
  if (here === now) return 'unchanged';
  return here === before ? 'apply' : 'keep edit';
}
