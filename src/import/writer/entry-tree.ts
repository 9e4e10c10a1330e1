import type { CompactionStart } from '../source.ts';

/** An entry's place in the tree. */
export interface EntryPlace {
  /** The entry's id here: its own, or `line:<record number>` if it has none or another entry already uses it. */
  readonly entryId: string;
  readonly parentEntryId: string | null;
  /** Position of the nearest ancestor that is a message; null if there is none. */
  readonly parentPosition: number | null;
  readonly problem: 'duplicate entry id' | 'missing parent' | null;
}

/** Positions start at 1. */
const NO_POSITION = 0;

/**
 * The tree of a session's entries. Keeps only what later entries need: about a hundred bytes an entry, whatever its size.
 * Add entries in the order of their records; a parent comes before its children.
 */
export class EntryTree {
  readonly #ordinals = new Map<string, number>();
  readonly #ids: string[] = [];
  readonly #numbers: number[] = [];
  /** Per entry: its own position if it is a message, else that of its nearest ancestor which is one. */
  readonly #anchors: number[] = [];
  /** Per entry: the last position given before it. */
  readonly #before: number[] = [];
  #last: number | null = null;

  /** The position at which the last entry's branch ends; null if no message is on it. */
  get leaf(): number | null {
    return this.#last === null ? null : positionOrNull(this.#anchors[this.#last]);
  }

  /** Whether an entry has this id. */
  has(entryId: string): boolean {
    return this.#ordinals.has(entryId);
  }

  /** The record number of the entry with this id; null if there is none. */
  numberOf(entryId: string): number | null {
    const ordinal = this.#ordinals.get(entryId);
    return ordinal === undefined ? null : (this.#numbers[ordinal] ?? null);
  }

  /** Finds the place of the next entry, without adding it. */
  place(number: number, ownId: string | null, parentEntryId: string | null | undefined): EntryPlace {
    const isTaken = ownId !== null && this.#ordinals.has(ownId);
    const entryId = ownId === null || isTaken ? `line:${number}` : ownId;
    const previous = this.#last === null ? null : (this.#ids[this.#last] ?? null);
    const wanted = parentEntryId === undefined ? previous : parentEntryId;
    const parent = wanted === null ? undefined : this.#ordinals.get(wanted);
    return {
      entryId,
      parentEntryId: wanted,
      parentPosition: parent === undefined ? null : positionOrNull(this.#anchors[parent]),
      problem: isTaken ? 'duplicate entry id' : wanted !== null && parent === undefined ? 'missing parent' : null,
    };
  }

  /**
   * Adds an entry after all others.
   * @param position the entry's own position if it is a message that still exists, else null
   * @param lastPosition the last position given before this entry
   */
  add(number: number, place: Pick<EntryPlace, 'entryId' | 'parentPosition'>, position: number | null, lastPosition: number): void {
    this.#last = this.#ids.length;
    this.#ordinals.set(place.entryId, this.#last);
    this.#ids.push(place.entryId);
    this.#numbers.push(number);
    this.#anchors.push(position ?? place.parentPosition ?? NO_POSITION);
    this.#before.push(lastPosition);
  }

  /** Makes a known entry the last one, because a rewritten source contains it again. `alias` is its id there. */
  revisit(entryId: string, alias: string | null): void {
    const ordinal = this.#ordinals.get(entryId);
    if (ordinal === undefined) return;
    this.#last = ordinal;
    if (alias !== null && !this.#ordinals.has(alias)) this.#ordinals.set(alias, ordinal);
  }

  /** The last position that a compaction removes from the active view if it keeps the entries from `start` on; null for an unknown entry. */
  positionBefore(start: CompactionStart): number | null {
    const ordinal = 'entryId' in start ? this.#ordinals.get(start.entryId) : start.entryIndex;
    return ordinal === undefined ? null : (this.#before[ordinal] ?? null);
  }
}

function positionOrNull(anchor: number | undefined): number | null {
  return anchor === undefined || anchor === NO_POSITION ? null : anchor;
}
