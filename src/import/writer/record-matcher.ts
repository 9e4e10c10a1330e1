import { createHash } from 'node:crypto';
import type { SourceLine } from '../source.ts';

/**
 * Knows the lines already imported again in a file that was rewritten: lines taken out, put in order, or given ids they did not have.
 */
export class LineMatcher {
  readonly #entryIds = new Map<string, (string | null)[]>();

  /** Takes in a line that was imported before. */
  add(line: SourceLine, entryId: string | null): void {
    const content = contentKey(line);
    const same = this.#entryIds.get(content);
    if (same === undefined) this.#entryIds.set(content, [entryId]);
    else same.push(entryId);
  }

  /**
   * The entry id under which a line was imported before, null for a line that is no entry; undefined where it is new.
   * Each line that was imported is found once.
   */
  take(line: SourceLine): string | null | undefined {
    const same = this.#entryIds.get(contentKey(line));
    const place = line.entryId === null ? 0 : Math.max(0, same?.indexOf(line.entryId) ?? 0);
    return same?.splice(place, 1)[0];
  }
}

function contentKey(line: SourceLine): string {
  return line.fingerprint?.() ?? createHash('sha256').update(line.raw).digest('base64url');
}
