import { createHash } from 'node:crypto';
import type { SourceRecord } from '../source.ts';

/** Finds the records that were imported before in a source that was rewritten: records were removed, reordered, or given ids. */
export class RecordMatcher {
  readonly #entryIds = new Map<string, (string | null)[]>();

  /** Adds a record that was imported before. */
  add(record: SourceRecord, entryId: string | null): void {
    const content = contentHash(record);
    const same = this.#entryIds.get(content);
    if (same === undefined) this.#entryIds.set(content, [entryId]);
    else same.push(entryId);
  }

  /**
   * Removes an imported record that equals this one, so that each is found once.
   * @returns the entry id it was imported with, null if it is not an entry, undefined if there is no such record
   */
  take(record: SourceRecord): string | null | undefined {
    const same = this.#entryIds.get(contentHash(record));
    const index = record.entryId === null ? 0 : Math.max(0, same?.indexOf(record.entryId) ?? 0);
    return same?.splice(index, 1)[0];
  }
}

function contentHash(record: SourceRecord): string {
  return record.fingerprint?.() ?? createHash('sha256').update(record.raw).digest('base64url');
}
