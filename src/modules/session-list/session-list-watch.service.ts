import type { StoredEvent } from '../../events/stored-event.ts';
import type { ReadList, StampedSession } from './session-list.loader.ts';
import { type ListChange, type ListEntry, listChanges } from './session-list.rules.ts';

/** A burst of events within so long is one reading of the list. */
const COALESCE_MS = 25;
/** Between two readings lie at least so many times what the last one took: a list keeps no more than a fifth of a connection busy. */
const REST_FACTOR = 4;
const MIN_REST_MS = 50;
const MAX_REST_MS = 5_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 10_000;
/** A list that could not be read for so long is given up: whoever watches it must not take it for up to date. */
const GIVE_UP_MS = 60_000;
/** Longer timers are begun again. */
const MAX_TIMER_MS = 3_600_000;

/** A step of a list with the session as the list has it; null where it is taken out. */
export interface SessionListChange extends ListChange {
  readonly node: StampedSession | null;
}

/** What is sent to one who watches a list: the whole list, or what has become of the one sent before. */
export interface SessionListEvent {
  /** Everything up to this place of the log is in the list. */
  readonly cursor: bigint;
  /** Null where it was not asked for. */
  readonly total: number | null;
  readonly snapshot: readonly StampedSession[] | null;
  /** None beside a snapshot. */
  readonly changes: readonly SessionListChange[];
}

/** What a consumer has been given: no rows, which would be kept for as long as it does not ask for more. */
export interface GivenList {
  readonly entries: readonly ListEntry[];
  readonly total: number | null;
}

/** A list as it stood at some moment. */
export interface ListState {
  /** Everything up to this place of the log is in the list. */
  readonly cursor: bigint;
  readonly total: number | null;
  readonly rows: readonly StampedSession[];
  /** The same array for as long as the list is the same. */
  readonly entries: readonly ListEntry[];
}

/** What a watch needs. */
export interface SessionListWatchOptions {
  /** Only events of these agents can change the list; null for all. */
  readonly agents: ReadonlySet<string> | null;
  readonly read: () => Promise<ReadList>;
  /** Runs a reading once it is its turn among those of all lists. */
  readonly inTurn: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** How far the log has been followed. */
  readonly position: () => bigint;
  /** Told when `notice` wants to be called with events again. */
  readonly onSettled: (watch: SessionListWatch) => void;
  /** The first of several failures in a row. */
  readonly onFailure: (error: unknown) => void;
  /** It has failed for a minute and is not tried again unless somebody asks for it. */
  readonly onGivenUp: (error: unknown) => void;
}

interface EventCache {
  snapshot: SessionListEvent | null;
  /** By the entries and the total given before. */
  changes: WeakMap<readonly ListEntry[], Map<number | null, SessionListEvent | null>>;
}

interface Waiter {
  readonly cursor: bigint;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Keeps one list up to date for all who watch it: it is read anew after events that may have changed it, and where the clock does.
 * Nothing is read while nobody waits for it.
 */
export class SessionListWatch {
  readonly #options: SessionListWatchOptions;
  /** Who waits for a state other than the one they have. */
  readonly #listeners = new Set<() => void>();
  readonly #waiters = new Set<Waiter>();
  #state: ListState | null = null;
  /** Of this state, by what was given before: one for all who had the same, so that it is executed and written once. */
  readonly #events: EventCache = { snapshot: null, changes: new WeakMap() };
  /** Events may have changed the list since the last reading began. */
  #stale = true;
  #reading = false;
  /** The place of the log that the reading under way has in; null before it has begun. */
  #readingFrom: bigint | null = null;
  #closed = false;
  #failures = 0;
  /** When the first of these was; of no meaning while there are none. */
  #failingSince = 0;
  /** Committed before any reading that begins from now on. */
  #floor = 0n;
  #restUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #clock: NodeJS.Timeout | undefined;

  constructor(options: SessionListWatchOptions) {
    this.#options = options;
  }

  /** The list as last read; null before the first time. */
  get state(): ListState | null {
    return this.#state;
  }

  /**
   * Waits until the list is one in which everything up to a place of the log is.
   * @param cursor a place of the log that has been reached: all up to there is committed
   * @throws the error of the database where it cannot be read
   */
  reach(cursor: bigint): Promise<void> {
    if (cursor > this.#floor) this.#floor = cursor;
    if (this.#state !== null && this.#state.cursor < cursor && !this.#stale && !this.#reading && this.#options.position() >= cursor) {
      // What happened since was none of its concern.
      this.#setState({ ...this.#state, cursor: this.#options.position() });
    }
    if (this.#state !== null && this.#state.cursor >= cursor) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.add({ cursor, resolve, reject });
      const isComing = this.#readingFrom !== null && this.#readingFrom >= cursor;
      if (!isComing) this.refresh();
    });
  }

  /** Calls the listener once, when the list has been read anew; returns the function that takes it away. */
  onceRead(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#schedule();
    return () => this.#listeners.delete(listener);
  }

  /** Takes notice of an event. @returns true where the list will be read anew: no more events need be told until it says so */
  notice(event: StoredEvent): boolean {
    if (this.#options.agents !== null && !this.#options.agents.has(event.agentId)) return false;
    this.refresh();
    return true;
  }

  /** The list may have changed. */
  refresh(): void {
    this.#stale = true;
    this.#schedule();
  }

  /** The log begins anew, as after a restored backup: places in it mean nothing any more. */
  restart(): void {
    this.#floor = 0n;
    this.refresh();
  }

  /** The event for a consumer that has been given this, or nothing yet; null where it has the list as it is, or none has been read. */
  eventFor(given: GivenList | null): SessionListEvent | null {
    const state = this.#state;
    if (state === null) return null;
    const { cursor, total, rows, entries } = state;
    if (given === null) {
      this.#events.snapshot ??= { cursor, total, snapshot: rows, changes: [] };
      return this.#events.snapshot;
    }
    if (given.entries === entries && given.total === total) return null;
    const known = this.#events.changes.get(given.entries) ?? new Map<number | null, SessionListEvent | null>();
    this.#events.changes.set(given.entries, known);
    const event = known.get(given.total) ?? changesSince(given, state);
    known.set(given.total, event);
    return event;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#clock);
  }

  #schedule(): void {
    const isWanted = this.#waiters.size > 0 || this.#listeners.size > 0;
    if (!this.#stale || !isWanted || this.#reading || this.#closed || this.#timer !== undefined) return;
    const rest = this.#restUntil - performance.now();
    this.#timer = setTimeout(() => void this.#read(), this.#state === null ? rest : Math.max(COALESCE_MS, rest));
  }

  async #read(): Promise<void> {
    const { inTurn, read, position, onSettled, onFailure, onGivenUp } = this.#options;
    this.#timer = undefined;
    this.#reading = true;
    let begunAt = 0;
    let cursor = 0n;
    try {
      const list = await inTurn(() => {
        // From here on events are noticed again: what they tell of may come too late for this reading.
        this.#stale = false;
        onSettled(this);
        begunAt = performance.now();
        cursor = later(position(), this.#floor);
        this.#readingFrom = cursor;
        return read();
      });
      this.#failures = 0;
      this.#restUntil = performance.now() + Math.min(MAX_REST_MS, Math.max(MIN_REST_MS, REST_FACTOR * (performance.now() - begunAt)));
      this.#take(list, cursor);
    } catch (error) {
      this.#stale = true;
      if (this.#failures === 0) {
        this.#failingSince = performance.now();
        if (!this.#closed) onFailure(error);
      }
      this.#restUntil = performance.now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++);
      for (const waiter of this.#waiters) waiter.reject(error);
      this.#waiters.clear();
      if (performance.now() - this.#failingSince >= GIVE_UP_MS) onGivenUp(error);
    } finally {
      this.#reading = false;
      this.#readingFrom = null;
      this.#schedule();
    }
  }

  #setState(state: ListState): void {
    this.#state = state;
    this.#events.snapshot = null;
    this.#events.changes = new WeakMap();
  }

  #take({ rows, total, changesInMs }: ReadList, cursor: bigint): void {
    const entries = rows.map(({ id, stamp }) => ({ id, stamp }));
    const isSame = this.#state !== null && listChanges(this.#state.entries, entries).length === 0;
    this.#setState({ cursor, total, rows, entries: isSame && this.#state !== null ? this.#state.entries : entries });
    this.#setClock(changesInMs);
    for (const waiter of this.#waiters) {
      if (waiter.cursor > cursor) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
    // Those for whom a reading came too early have made it stale by asking.
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  #setClock(changesInMs: number | null): void {
    clearTimeout(this.#clock);
    this.#clock = undefined;
    if (changesInMs === null || this.#closed) return;
    // The millisecond is the last in which the session still counts as active.
    this.#clock = setTimeout(() => this.refresh(), Math.min(MAX_TIMER_MS, Math.max(0, Math.ceil(changesInMs) + 1))).unref();
  }
}

function later(a: bigint, b: bigint): bigint {
  // Math.max takes no bigint.
  if (a > b) return a;
  return b;
}

/** Null where the list is back to what was given. */
function changesSince(given: GivenList, { cursor, total, rows, entries }: ListState): SessionListEvent | null {
  const steps = listChanges(given.entries, entries);
  if (steps.length === 0 && given.total === total) return null;
  const byId = new Map(rows.map(row => [row.id, row]));
  const changes = steps.map(step => ({ ...step, node: step.toIndex === null ? null : (byId.get(step.id) ?? null) }));
  return { cursor, total, snapshot: null, changes };
}
