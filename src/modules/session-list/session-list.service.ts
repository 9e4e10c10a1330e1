import { setTimeout } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { EventLog } from '../../events/event-log.ts';
import type { StoredEvent } from '../../events/stored-event.ts';
import type { Logger } from '../../log.ts';
import type { Database } from '../../postgres/database.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import type { SessionFilter, SessionOrder } from '../session-filter/session-filter.rules.ts';
import { sessionConditions } from '../session-filter/session-filter.sql.ts';
import { sessionOrdering } from '../session-filter/session-order.sql.ts';
import { sessionSearch } from '../session-filter/session-search.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { readList } from './session-list.loader.ts';
import { activityWindows, scopeOf } from './session-list.rules.ts';
import { SessionListStream } from './session-list-stream.service.ts';
import { SessionListWatch } from './session-list-watch.service.ts';
import { WatchIndex } from './watch-index.ts';

/** A list to watch, and what to read of its sessions. */
export interface SessionListRequest {
  readonly filter?: SessionFilter | null;
  readonly orderBy?: readonly SessionOrder[] | null;
  readonly first?: number | null;
  /** Default and maximum of `first`. */
  readonly pageSize: PageSize;
  /** Column groups of the sessions, as for SessionLoader. */
  readonly groups: readonly string[];
  readonly withTotal: boolean;
}

export interface SessionListsOptions {
  readonly database: Database;
  readonly events: EventLog;
  readonly log: Logger;
}

/** Maximum lists that are read at the same time, because other requests need connections too. */
const MAX_READS = 4;
const RECONNECT_MS = 500;
/** If the event log stays unreachable for this long, all streams fail. */
const GIVE_UP_MS = 60_000;

interface WatchedEntry {
  readonly watch: SessionListWatch;
  readonly streams: Set<SessionListStream>;
}

/**
 * All live lists of the process. They share one stream of the event log. Equal lists of viewers with the same rights share one watch, so each
 * is read once for all of its subscribers.
 */
export class SessionLists {
  readonly #options: SessionListsOptions;
  readonly #watches = new Map<string, WatchedEntry>();
  /** The watches to notify of events. The others are stale already. */
  readonly #toNotify = new WatchIndex<SessionListWatch>();
  readonly #limit = pLimit(MAX_READS);
  /** Number of open streams, including those that are being opened. */
  #users = 0;
  #position = 0n;
  #log: Promise<AsyncIterableIterator<StoredEvent>> | null = null;

  constructor(options: SessionListsOptions) {
    this.#options = options;
  }

  /**
   * Opens a stream of a list: first the list, including everything committed before the call, then its changes.
   * @throws DomainError BAD_USER_INPUT, PAGE_SIZE_TOO_LARGE, SERVICE_UNAVAILABLE; the error of the database
   */
  async open(viewer: Viewer, request: SessionListRequest): Promise<SessionListStream> {
    const key = keyOf(viewer, request);
    const list = toList(viewer, request);
    this.#users += 1;
    let stream: SessionListStream | null = null;
    try {
      const now = await this.#followLog();
      const entry = this.#watches.get(key) ?? this.#addWatch(key, viewer, list, request.filter);
      const opened = new SessionListStream(entry.watch, () => this.#removeStream(key, opened));
      stream = opened;
      entry.streams.add(opened);
      await entry.watch.reach(now);
      return opened;
    } catch (error) {
      if (stream === null) this.#removeUser();
      else stream.end();
      throw error;
    }
  }

  #addWatch(key: string, viewer: Viewer, list: ReturnType<typeof toList>, filter: SessionFilter | null | undefined): WatchedEntry {
    const { database, log } = this.#options;
    const streams = new Set<SessionListStream>();
    const watch = new SessionListWatch({
      scope: scopeOf(filter, viewer.agentIds),
      read: () => readList(database, viewer, list),
      limit: this.#limit,
      position: () => this.#position,
      onReadStart: started => this.#toNotify.add(started),
      onReadError: error => log.warn({ reason: String(error) }, 'cannot read a live list; will retry'),
      onGiveUp: error => failAll(streams, error),
    });
    const entry = { watch, streams };
    this.#watches.set(key, entry);
    return entry;
  }

  #removeStream(key: string, stream: SessionListStream): void {
    const entry = this.#watches.get(key);
    if (entry?.streams.delete(stream) === true && entry.streams.size === 0) {
      this.#watches.delete(key);
      this.#toNotify.remove(entry.watch);
      entry.watch.close();
    }
    this.#removeUser();
  }

  #removeUser(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#unfollowLog();
  }

  #unfollowLog(): void {
    if (this.#log === null) return;
    const log = this.#log;
    this.#log = null;
    log.then(stream => stream.return?.()).catch(() => undefined);
  }

  /**
   * Subscribes to the event log, if there is no subscription yet.
   * @returns the end of the log: everything up to this position is committed
   */
  async #followLog(): Promise<bigint> {
    const { events } = this.#options;
    const now = await events.sync();
    if (this.#log === null) {
      this.#position = now;
      const log = events.subscribe({ visibleAgents: null, after: now });
      this.#log = log;
      log.then(
        stream => void this.#passEventsOn(log, stream),
        () => {
          if (this.#log === log) this.#log = null;
        },
      );
    }
    await this.#log;
    return now;
  }

  async #passEventsOn(log: Promise<AsyncIterableIterator<StoredEvent>>, stream: AsyncIterableIterator<StoredEvent>): Promise<void> {
    try {
      for await (const event of stream) {
        if (this.#log !== log) return;
        this.#position = event.seq;
        this.#toNotify.notify(event);
      }
    } catch (error) {
      this.#options.log.warn({ reason: String(error) }, 'live lists lost the event log; will reconnect');
      if (this.#log === log) await this.#reconnect();
      return;
    }
    // The event log ends its streams when the process shuts down.
    if (this.#log === log) for (const { streams } of [...this.#watches.values()]) for (const each of [...streams]) each.end();
  }

  async #reconnect(): Promise<void> {
    this.#log = null;
    const since = performance.now();
    while (this.#users > 0) {
      try {
        await this.#followLog();
        for (const { watch } of this.#watches.values()) watch.restart();
        // All users may have left in the meantime.
        if (this.#users === 0) this.#unfollowLog();
        return;
      } catch (error) {
        if (performance.now() - since >= GIVE_UP_MS) for (const { streams } of [...this.#watches.values()]) failAll(streams, error);
        await setTimeout(RECONNECT_MS, undefined, { ref: false });
      }
    }
  }
}

function failAll(streams: ReadonlySet<SessionListStream>, error: unknown): void {
  for (const stream of [...streams]) stream.fail(error);
}

function toList(viewer: Viewer, { filter, orderBy, first, pageSize, groups, withTotal }: SessionListRequest) {
  const ordering = sessionOrdering(orderBy, ['sessions', filter]);
  return {
    conditions: sessionConditions(filter, viewer),
    ordering,
    search: sessionSearch(filter, viewer),
    window: readWindow({ first }, pageSize, ordering),
    groups,
    withTotal,
    activityWindows: activityWindows(filter),
  };
}

/** Equal for lists that the same statements read. */
function keyOf(viewer: Viewer, { filter, orderBy, first, pageSize, groups, withTotal }: SessionListRequest): string {
  const agents = viewer.agentIds?.toSorted() ?? null;
  return JSON.stringify([agents, filter ?? null, orderBy ?? null, first ?? pageSize.default, groups, withTotal]);
}
