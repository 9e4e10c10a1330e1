import { setImmediate } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { estimatedJsonSize } from '../postgres/json-size.ts';
import { EventLogExpiredError, type EventTable } from './event-table.ts';
import type { StoredEvent } from './stored-event.ts';

/**
 * Maximum events per statement. If many events are new, a subscriber then gets several of them at the same time. The server
 * sends these with one system call, which costs more than all other work for an event.
 */
const BATCH = 4_096;

/** At least this many recent events stay in memory, so that subscriptions that are a little behind need not read the table. */
const MIN_RECENT = 4_096;

/** Maximum memory for recent events, in bytes. If events have long texts, fewer of them stay in memory. */
const MAX_RECENT_BYTES = 16 * 1024 * 1024;

/** Approximate size of an event without its agent id and payload, in bytes. */
const EVENT_BYTES = 512;

export interface EventReaderOptions {
  readonly table: EventTable;
  readonly log: Logger;
  /** False while there are no subscriptions. The reader then reads nothing. */
  readonly isNeeded: () => boolean;
  /** Called with each event, in the order of the log. @returns true if consumers must run before the next event */
  readonly onEvent: (event: StoredEvent) => boolean;
  /** Called when events that the reader had not read were dropped, so live subscriptions have missed them. */
  readonly onExpired: (error: EventLogExpiredError) => void;
}

/** Reads new events of the log, once for all live subscriptions of this process. It starts at the position set by `moveTo`. */
export class EventReader {
  readonly #options: EventReaderOptions;
  #position = 0n;
  #target = 0n;
  #isReading = false;
  #isClosed = false;
  #recent: StoredEvent[] = [];
  /** `#recent` has all known events after this position. */
  #recentAfter = 0n;
  #recentBytes = 0;

  constructor(options: EventReaderOptions) {
    this.#options = options;
  }

  /** All events up to here have been dispatched. */
  get position(): bigint {
    return this.#position;
  }

  /** Number of events that are known and not dispatched yet. */
  get lag(): bigint {
    return this.#options.isNeeded() ? this.#target - this.#position : 0n;
  }

  /** Reads up to the new end of the log, in the background. If that fails, it logs the error; the next call retries. */
  advance(target: bigint): void {
    if (target > this.#target) this.#target = target;
    if (!this.#isReading && !this.#isClosed) void this.#read();
  }

  /** Continues from another position, at the next `advance`. */
  moveTo(position: bigint): void {
    this.#position = position;
    if (this.#target < position) this.#target = position;
    this.#recent = [];
    this.#recentBytes = 0;
    this.#recentAfter = position;
  }

  /** The dispatched events after this position, in order. Null if some of them are no longer in memory. */
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
    this.#isClosed = true;
  }

  async #read(): Promise<void> {
    const { table, log, isNeeded, onExpired } = this.#options;
    this.#isReading = true;
    try {
      while (this.#target > this.#position && isNeeded() && !this.#isClosed) {
        const from = this.#position;
        const target = this.#target;
        const { events, reached } = await table.readNew(from, BATCH);
        // `moveTo` was called meanwhile, so this batch is from the wrong position.
        if (this.#position !== from) continue;
        // The announced events do not exist, as after restoring a backup.
        if (reached === from && this.#target === target) this.#target = from;
        if (!(await this.#dispatchAll(events))) continue;
        this.#position = reached;
        // Let the consumers run before the next batch.
        await setImmediate();
      }
    } catch (error) {
      if (error instanceof EventLogExpiredError) {
        this.moveTo(this.#target);
        onExpired(error);
      } else if (!this.#isClosed) {
        log.warn({ reason: String(error) }, 'cannot read new events; will retry');
      }
    } finally {
      this.#isReading = false;
    }
  }

  /** @returns false if `moveTo` was called meanwhile: the rest of the events is from the wrong position */
  async #dispatchAll(events: readonly StoredEvent[]): Promise<boolean> {
    for (const event of events) {
      const isCrowded = this.#dispatch(event);
      if (isCrowded) await setImmediate();
      if (this.#position !== event.seq) return false;
    }
    return true;
  }

  #dispatch(event: StoredEvent): boolean {
    this.#recent.push(event);
    this.#recentBytes += sizeOf(event);
    while (this.#recent.length >= 2 * MIN_RECENT || this.#recentBytes > MAX_RECENT_BYTES) this.#dropHalf();
    this.#position = event.seq;
    return this.#options.onEvent(event);
  }

  #dropHalf(): void {
    const count = Math.ceil(this.#recent.length / 2);
    this.#recentAfter = this.#recent[count - 1]?.seq ?? this.#recentAfter;
    this.#recent = this.#recent.slice(count);
    this.#recentBytes = this.#recent.reduce((sum, event) => sum + sizeOf(event), 0);
  }
}

function sizeOf({ agentId, payload }: StoredEvent): number {
  return EVENT_BYTES + 2 * (agentId.length + estimatedJsonSize(payload));
}
