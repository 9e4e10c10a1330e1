import type { StoredEvent } from '../../events/stored-event.ts';
import type { ListedSession, ReadList } from './session-list.loader.ts';
import { isInScope, type ListChange, type ListEntry, type ListScope, listChanges } from './session-list.rules.ts';

/** The list is read this long after an event, so that a burst of events causes one read. */
const COALESCE_MS = 25;
/** The pause after a read, as a multiple of its duration: a list keeps a connection busy for at most a fifth of the time. */
const PAUSE_FACTOR = 4;
const MIN_PAUSE_MS = 50;
const MAX_PAUSE_MS = 5_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 10_000;
/** After failing for this long, the streams of the list fail, because their subscribers would take an old list for the current one. */
const GIVE_UP_MS = 60_000;
/** The longest time for which the clock timer is set. After it the list is read, which sets the timer again. */
const MAX_TIMER_MS = 3_600_000;

/** A step from one state of a list to the next, with the session. */
export interface SessionListChange extends ListChange {
  /** Null if the step removes the session. */
  readonly node: ListedSession | null;
}

/** An event of a live list: the whole list, or the changes since the event before. */
export interface SessionListEvent {
  /** The list includes everything up to this position of the event log. */
  readonly cursor: bigint;
  /** Null if the operation does not select it. */
  readonly total: number | null;
  readonly snapshot: readonly ListedSession[] | null;
  /** Empty if there is a snapshot. */
  readonly changes: readonly SessionListChange[];
}

/** The list that a subscriber has. It holds no rows, because it is kept as long as the subscriber does not ask for more. */
export interface DeliveredList {
  readonly entries: readonly ListEntry[];
  readonly total: number | null;
}

/** A list as it was read. */
export interface ListState {
  /** The list includes everything up to this position of the event log. */
  readonly cursor: bigint;
  readonly total: number | null;
  readonly rows: readonly ListedSession[];
  /** The same array object as before if the list did not change. */
  readonly entries: readonly ListEntry[];
}

export interface SessionListWatchOptions {
  /** Only events of these sessions can change the list. */
  readonly scope: ListScope;
  readonly read: () => Promise<ReadList>;
  /** Limits how many lists are read at the same time: runs the function when there is a free slot. */
  readonly limit: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** The position up to which events have been passed on. */
  readonly position: () => bigint;
  /** Called when a read starts. From then on, `notice` must be called again with each event. */
  readonly onReadStart: (watch: SessionListWatch) => void;
  /** Called with the first of several errors in a row. */
  readonly onReadError: (error: unknown) => void;
  /** Called when reads have failed for a minute. */
  readonly onGiveUp: (error: unknown) => void;
}

interface EventCache {
  snapshot: SessionListEvent | null;
  /** By the entries and the total delivered before. */
  changes: WeakMap<readonly ListEntry[], Map<number | null, SessionListEvent | null>>;
}

interface Waiter {
  readonly cursor: bigint;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Keeps one list up to date for all its subscribers. It reads the list after events that may have changed it, and when the clock may have
 * changed it. It reads nothing while no subscriber waits for a change.
 */
export class SessionListWatch {
  readonly #options: SessionListWatchOptions;
  /** Called once, after the next read. */
  readonly #listeners = new Set<() => void>();
  readonly #waiters = new Set<Waiter>();
  #state: ListState | null = null;
  /** Events for the current state. Subscribers with the same list share one, so it is executed and serialised once. */
  readonly #events: EventCache = { snapshot: null, changes: new WeakMap() };
  /** True if something may have changed the list since the last read started. */
  #isStale = true;
  #isReading = false;
  /** The position that the running read includes. Null if none has started. */
  #readingFrom: bigint | null = null;
  #isClosed = false;
  #failures = 0;
  /** Time of the first of these failures. */
  #failingSince = 0;
  /** Everything up to this position is committed, so each read that starts now includes it. */
  #committed = 0n;
  #pausedUntil = 0;
  /** Starts the next read. */
  #readTimer: NodeJS.Timeout | undefined;
  /** Fires when the clock changes the list. */
  #clockTimer: NodeJS.Timeout | undefined;

  constructor(options: SessionListWatchOptions) {
    this.#options = options;
  }

  get scope(): ListScope {
    return this.#options.scope;
  }

  /** The list as last read. Null before the first read. */
  get state(): ListState | null {
    return this.#state;
  }

  /**
   * Waits until the list includes everything up to this position of the event log.
   * @param cursor everything up to this position is committed
   * @throws the error of the database
   */
  reach(cursor: bigint): Promise<void> {
    this.#committed = later(this.#committed, cursor);
    if (this.#state !== null && this.#state.cursor < cursor && !this.#isStale && !this.#isReading && this.#options.position() >= cursor) {
      // The events since the last read did not concern this list.
      this.#setState({ ...this.#state, cursor: this.#options.position() });
    }
    if (this.#state !== null && this.#state.cursor >= cursor) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.add({ cursor, resolve, reject });
      const isBeingRead = this.#readingFrom !== null && this.#readingFrom >= cursor;
      if (!isBeingRead) this.refresh();
    });
  }

  /**
   * Calls the listener once, after the next read.
   * @returns a function that removes the listener
   */
  onNextRead(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#schedule();
    return () => this.#listeners.delete(listener);
  }

  /**
   * Handles an event that may change the list.
   * @returns true if the list will be read: then further events can be left out until `onReadStart`
   */
  notice(event: StoredEvent): boolean {
    if (!isInScope(this.scope, event)) return false;
    this.refresh();
    return true;
  }

  /** Reads the list again, soon after a subscriber waits for it. */
  refresh(): void {
    this.#isStale = true;
    this.#schedule();
  }

  /** Forgets positions, because the event log starts over, as after a restored backup. */
  restart(): void {
    this.#committed = 0n;
    this.refresh();
  }

  /**
   * The event for a subscriber that has this list, or none yet.
   * @returns null if the subscriber has the current list, or if none has been read
   */
  eventSince(delivered: DeliveredList | null): SessionListEvent | null {
    const state = this.#state;
    if (state === null) return null;
    const { cursor, total, rows, entries } = state;
    if (delivered === null) {
      this.#events.snapshot ??= { cursor, total, snapshot: rows, changes: [] };
      return this.#events.snapshot;
    }
    if (delivered.entries === entries && delivered.total === total) return null;
    const byTotal = this.#events.changes.get(delivered.entries) ?? new Map<number | null, SessionListEvent | null>();
    this.#events.changes.set(delivered.entries, byTotal);
    const event = byTotal.get(delivered.total) ?? changesSince(delivered, state);
    byTotal.set(delivered.total, event);
    return event;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#readTimer);
    clearTimeout(this.#clockTimer);
  }

  #schedule(): void {
    const isWanted = this.#waiters.size > 0 || this.#listeners.size > 0;
    if (!this.#isStale || !isWanted || this.#isReading || this.#isClosed || this.#readTimer !== undefined) return;
    const pause = Math.max(this.#state === null ? 0 : COALESCE_MS, this.#pausedUntil - performance.now());
    this.#readTimer = setTimeout(() => void this.#read(), pause);
  }

  async #read(): Promise<void> {
    const { limit, read, position, onReadStart, onReadError, onGiveUp } = this.#options;
    this.#readTimer = undefined;
    this.#isReading = true;
    let startedAt = 0;
    let cursor = 0n;
    try {
      const list = await limit(() => {
        // An event that comes from here on may be too late for this read, so it makes the list stale again.
        this.#isStale = false;
        onReadStart(this);
        startedAt = performance.now();
        cursor = later(position(), this.#committed);
        this.#readingFrom = cursor;
        return read();
      });
      this.#failures = 0;
      const pause = PAUSE_FACTOR * (performance.now() - startedAt);
      this.#pausedUntil = performance.now() + Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, pause));
      this.#accept(list, cursor);
    } catch (error) {
      this.#isStale = true;
      if (this.#failures === 0) {
        this.#failingSince = performance.now();
        if (!this.#isClosed) onReadError(error);
      }
      this.#pausedUntil = performance.now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++);
      for (const waiter of this.#waiters) waiter.reject(error);
      this.#waiters.clear();
      if (performance.now() - this.#failingSince >= GIVE_UP_MS) onGiveUp(error);
    } finally {
      this.#isReading = false;
      this.#readingFrom = null;
      this.#schedule();
    }
  }

  #setState(state: ListState): void {
    this.#state = state;
    this.#events.snapshot = null;
    this.#events.changes = new WeakMap();
  }

  #accept({ rows, total, changesInMs }: ReadList, cursor: bigint): void {
    const entries = rows.map(({ id, stamp }) => ({ id, stamp }));
    const isSame = this.#state !== null && listChanges(this.#state.entries, entries).length === 0;
    this.#setState({ cursor, total, rows, entries: isSame && this.#state !== null ? this.#state.entries : entries });
    this.#setClockTimer(changesInMs);
    for (const waiter of this.#waiters) {
      // A waiter for a later position has already marked the list as stale, so another read follows.
      if (waiter.cursor > cursor) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  #setClockTimer(changesInMs: number | null): void {
    clearTimeout(this.#clockTimer);
    this.#clockTimer = undefined;
    if (changesInMs === null || this.#isClosed) return;
    // During this millisecond the session still counts as active, so one is added.
    this.#clockTimer = setTimeout(() => this.refresh(), Math.min(MAX_TIMER_MS, Math.max(0, Math.ceil(changesInMs) + 1))).unref();
  }
}

function later(a: bigint, b: bigint): bigint {
  // Math.max does not accept bigint.
  return a > b ? a : b;
}

/** Null if the list is again as the subscriber has it. */
function changesSince(delivered: DeliveredList, { cursor, total, rows, entries }: ListState): SessionListEvent | null {
  const steps = listChanges(delivered.entries, entries);
  if (steps.length === 0 && delivered.total === total) return null;
  const byId = new Map(rows.map(row => [row.id, row]));
  const changes = steps.map(step => ({ ...step, node: step.toIndex === null ? null : (byId.get(step.id) ?? null) }));
  return { cursor, total, snapshot: null, changes };
}
