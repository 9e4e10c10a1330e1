import { setImmediate } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { EventLogExpiredError, type EventTable } from './event-table.ts';
import type { StoredEvent } from './stored-event.ts';

/** Less than a subscription's buffer holds, so that whoever keeps up is never made to fall behind by one batch. */
const BATCH = 128;

/** How many of the newest events are kept, so that those who fell behind a little need not ask the table. */
const RECENT = 4_096;

/** Most they may hold together, in bytes: some thousand of common events, fewer where an import brought long texts. */
const RECENT_BYTES = 16 * 1024 * 1024;

/** An event's own fields and what its objects take beside them, roughly, in bytes. */
const EVENT_BYTES = 512;

/** What the reader needs. */
export interface EventReaderOptions {
  readonly table: EventTable;
  readonly log: Logger;
  /** False while nobody wants events: nothing is read then. */
  readonly isNeeded: () => boolean;
  /** Takes each event, in the order of the log. */
  readonly onEvent: (event: StoredEvent) => void;
  /** The log was dropped up to beyond the reader's place: those that lived from it have missed events. */
  readonly onExpired: (error: EventLogExpiredError) => void;
}

/** The one reader of the log in this process; it starts where `moveTo` puts it. */
export class EventReader {
  readonly #options: EventReaderOptions;
  #position = 0n;
  #target = 0n;
  #reading = false;
  #closed = false;
  #recent: StoredEvent[] = [];
  /** `#recent` holds all known events behind this one. */
  #recentAfter = 0n;
  #recentBytes = 0;

  constructor(options: EventReaderOptions) {
    this.#options = options;
  }

  /** All events up to here have been handed on. */
  get position(): bigint {
    return this.#position;
  }

  /** How many events are known to wait. */
  get lag(): bigint {
    return this.#options.isNeeded() ? this.#target - this.#position : 0n;
  }

  /** The log reaches to `target` by now: reads on, in the background. Failures are logged; the next call tries again. */
  advance(target: bigint): void {
    if (target > this.#target) this.#target = target;
    if (!this.#reading && !this.#closed) void this.#read();
  }

  /** Continues from another place of the log, at the next `advance`. */
  moveTo(position: bigint): void {
    this.#position = position;
    if (this.#target < position) this.#target = position;
    this.#recent = [];
    this.#recentBytes = 0;
    this.#recentAfter = position;
  }

  /** The events handed on lately that are behind `after`, in order; null where some of them are no longer kept. */
  recent(after: bigint): readonly StoredEvent[] | null {
    if (after < this.#recentAfter) return null;
    let low = 0;
    for (let high = this.#recent.length; low < high; ) {
      const middle = (low + high) >> 1;
      const seq = this.#recent[middle]?.seq;
      if (seq !== undefined && seq <= after) low = middle + 1;
      else high = middle;
    }
    return this.#recent.slice(low);
  }

  close(): void {
    this.#closed = true;
  }

  async #read(): Promise<void> {
    const { table, log, isNeeded, onExpired } = this.#options;
    this.#reading = true;
    try {
      while (this.#target > this.#position && isNeeded() && !this.#closed) {
        const from = this.#position;
        const target = this.#target;
        const { events, reached } = await table.readNew(from, BATCH);
        // It was moved meanwhile: what was read belongs to another place.
        if (this.#position !== from) continue;
        // Announced, but not there.
        if (reached === from && this.#target === target) this.#target = from;
        for (const event of events) this.#handOn(event);
        this.#position = reached;
        // Whoever takes events gets its turn before the next batch.
        await setImmediate();
      }
    } catch (error) {
      if (error instanceof EventLogExpiredError) {
        this.moveTo(this.#target);
        onExpired(error);
      } else if (!this.#closed) {
        log.warn({ reason: String(error) }, 'events wait to be read until the next try');
      }
    } finally {
      this.#reading = false;
    }
  }

  #handOn(event: StoredEvent): void {
    this.#recent.push(event);
    this.#recentBytes += sizeOf(event);
    while (this.#recent.length >= 2 * RECENT || this.#recentBytes > RECENT_BYTES) this.#forgetHalf();
    this.#position = event.seq;
    this.#options.onEvent(event);
  }

  #forgetHalf(): void {
    const count = Math.ceil(this.#recent.length / 2);
    this.#recentAfter = this.#recent[count - 1]?.seq ?? this.#recentAfter;
    this.#recent = this.#recent.slice(count);
    this.#recentBytes = this.#recent.reduce((sum, event) => sum + sizeOf(event), 0);
  }
}

function sizeOf({ agentId, payload }: StoredEvent): number {
  return EVENT_BYTES + 2 * (agentId.length + JSON.stringify(payload).length);
}
