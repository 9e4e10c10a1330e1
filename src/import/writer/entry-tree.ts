import type { CompactionStart } from '../source.ts';

/** Where an entry hangs. */
export interface EntryPlace {
  /** The id the entry goes by: its own, or `line:<n>` where it has none or another entry holds it already. */
  readonly entryId: string;
  readonly parentEntryId: string | null;
  /** Position of the nearest ancestor that is a message, null where there is none. */
  readonly parentPosition: number | null;
  readonly problem: 'duplicate entry id' | 'missing parent' | null;
}

const NOWHERE = 0;

/**
 * The tree of a transcript's entries, reduced to what later lines need: about a hundred bytes an entry, whatever the entry's size.
 * Entries are added in the order of the file; a parent stands before its children.
 */
export class LineTree {
  readonly #ordinals = new Map<string, number>();
  readonly #ids: string[] = [];
  readonly #lines: number[] = [];
  /** Of each entry: its own position where it is a message, else its nearest ancestor's. */
  readonly #anchors: number[] = [];
  /** Of each entry: the last position given before it. */
  readonly #before: number[] = [];
  #last: number | null = null;

  /** The position at which the branch of the last entry ends; null where no message is on it. */
  get leaf(): number | null {
    return this.#last === null ? null : positionOrNull(this.#anchors[this.#last]);
  }

  /** Whether an entry goes by this id. */
  has(entryId: string): boolean {
    return this.#ordinals.has(entryId);
  }

  /** The line of the entry that goes by this id; null where there is none. */
  lineOf(entryId: string): number | null {
    const ordinal = this.#ordinals.get(entryId);
    return ordinal === undefined ? null : (this.#lines[ordinal] ?? null);
  }

  /** Finds the place of the next entry; it counts only once it is added. */
  place(line: number, ownId: string | null, parentEntryId: string | null | undefined): EntryPlace {
    const taken = ownId !== null && this.#ordinals.has(ownId);
    const entryId = ownId === null || taken ? `line:${line}` : ownId;
    const previous = this.#last === null ? null : (this.#ids[this.#last] ?? null);
    const wanted = parentEntryId === undefined ? previous : parentEntryId;
    const parent = wanted === null ? undefined : this.#ordinals.get(wanted);
    return {
      entryId,
      parentEntryId: wanted,
      parentPosition: parent === undefined ? null : positionOrNull(this.#anchors[parent]),
      problem: taken ? 'duplicate entry id' : wanted !== null && parent === undefined ? 'missing parent' : null,
    };
  }

  /**
   * Adds an entry behind all others.
   * @param position its own where it is a message that still stands, else null
   * @param lastPosition the last position given before it
   */
  add(line: number, place: Pick<EntryPlace, 'entryId' | 'parentPosition'>, position: number | null, lastPosition: number): void {
    this.#last = this.#ids.length;
    this.#ordinals.set(place.entryId, this.#last);
    this.#ids.push(place.entryId);
    this.#lines.push(line);
    this.#anchors.push(position ?? place.parentPosition ?? NOWHERE);
    this.#before.push(lastPosition);
  }

  /** Makes a known entry the last one, as it is met again in a file that was rewritten; `alias` is its new id there. */
  revisit(entryId: string, alias: string | null): void {
    const ordinal = this.#ordinals.get(entryId);
    if (ordinal === undefined) return;
    this.#last = ordinal;
    if (alias !== null && !this.#ordinals.has(alias)) this.#ordinals.set(alias, ordinal);
  }

  /** The last position a compaction takes out of the active view, where it keeps what `start` says; null for an entry never seen. */
  positionBefore(start: CompactionStart): number | null {
    const ordinal = 'entryId' in start ? this.#ordinals.get(start.entryId) : start.entryIndex;
    return ordinal === undefined ? null : (this.#before[ordinal] ?? null);
  }
}

function positionOrNull(anchor: number | undefined): number | null {
  return anchor === undefined || anchor === NOWHERE ? null : anchor;
}
