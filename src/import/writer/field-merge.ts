import { createHash } from 'node:crypto';
import { canonicalJson } from '../canonical-json.ts';

/** Field name to the hash of its value when it was last imported. */
export type FieldHashes = Readonly<Record<string, string>>;

/** What a re-import does to one field. */
export type FieldDecision = 'unchanged' | 'apply' | 'keep edit';

/** A short hash of a JSON value; undefined and null are the same. */
export function hashValue(value: unknown): string {
  return createHash('sha256')
    .update(canonicalJson(value ?? null))
    .digest('base64url')
    .slice(0, 16);
}

/**
 * Whether the source's value of a field replaces ours: only if it changed at the source since the last import and nobody edited it here.
 * @param recorded hash of the value last imported; undefined where none was: the field was then empty at the source
 * @param stored what stands here now
 * @param source what stands at the source now
 */
export function decideField(recorded: string | undefined, stored: unknown, source: unknown): FieldDecision {
  const before = recorded ?? hashValue(null);
  const now = hashValue(source);
  if (now === before) return 'unchanged';
  const here = hashValue(stored);
  // Edited here to what the source says now: nothing is left to do.
  if (here === now) return 'unchanged';
  return here === before ? 'apply' : 'keep edit';
}
