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
import { activityWindows, pinnedAgents } from './session-list.rules.ts';
import { SessionListStream } from './session-list-stream.service.ts';
import { SessionListWatch } from './session-list-watch.service.ts';

/** Which list is watched, and what is read of its sessions. */
export interface SessionListRequest {
  readonly filter?: SessionFilter | null;
  readonly orderBy?: readonly SessionOrder[] | null;
  readonly first?: number | null;
  /** How many sessions where `first` is left out, and at the most. */
  readonly pageSize: PageSize;
  /** Column groups of the sessions, as of SessionLoader. */
  readonly groups: readonly string[];
  readonly withTotal: boolean;
}

/** What live lists are made of. */
export interface SessionListsOptions {
  readonly database: Database;
  readonly events: EventLog;
  readonly log: Logger;
}

/** Lists that are read at the same time, whatever their number: the other requests need connections too. */
const MAX_READINGS = 4;
const RESTART_MS = 500;
/** Without the log for so long, those who watch lists are told. */
const GIVE_UP_MS = 60_000;

/**
 * All live lists of a process. One stream of the event log wakes them all; equal lists of viewers who may see the same are one watch, read
 * once for all of them.
 */
export class SessionLists {
  readonly #options: SessionListsOptions;
  readonly #watches = new Map<string, { readonly watch: SessionListWatch; readonly streams: Set<SessionListStream> }>();
  /** Those that want to be told of events: the others are to be read anew as it is. */
  readonly #settled = new Set<SessionListWatch>();
  readonly #queue: (() => void)[] = [];
  #readings = 0;
  /** Streams open or about to be. */
  #users = 0;
  #position = 0n;
  #log: Promise<AsyncIterableIterator<StoredEvent>> | null = null;

  constructor(options: SessionListsOptions) {
    this.#options = options;
  }

  /**
   * Watches a list: first the list, then what changes. All that was committed before the call is in the first.
   * @throws DomainError BAD_USER_INPUT, PAGE_SIZE_TOO_LARGE, SERVICE_UNAVAILABLE; the error of the database where the list cannot be read
   */
  async open(viewer: Viewer, request: SessionListRequest): Promise<SessionListStream> {
    const key = keyOf(viewer, request);
    const list = toList(viewer, request);
    this.#users += 1;
    let stream: SessionListStream | null = null;
    try {
      const now = await this.#follow();
      const entry = this.#watches.get(key) ?? this.#begin(key, viewer, list, request.filter);
      const opened = new SessionListStream(entry.watch, () => this.#leave(key, opened));
      stream = opened;
      entry.streams.add(opened);
      await entry.watch.reach(now);
      return opened;
    } catch (error) {
      if (stream === null) this.#release();
      else stream.end();
      throw error;
    }
  }

  #begin(key: string, viewer: Viewer, list: ReturnType<typeof toList>, filter: SessionFilter | null | undefined) {
    const { database, log } = this.#options;
    const pinned = pinnedAgents(filter);
    const agents =
      pinned === null || viewer.agentIds === null ? (pinned ?? viewer.agentIds) : pinned.filter(id => viewer.agentIds?.includes(id));
    const watch = new SessionListWatch({
      agents: agents === null ? null : new Set(agents),
      read: () => readList(database, viewer, list),
      inTurn: work => this.#inTurn(work),
      position: () => this.#position,
      onSettled: settled => this.#settled.add(settled),
      onFailure: error => log.warn({ reason: String(error) }, 'a live list cannot be read until the next try'),
      onGivenUp: error => failAll(streams, error),
    });
    const streams = new Set<SessionListStream>();
    const entry = { watch, streams };
    this.#watches.set(key, entry);
    return entry;
  }

  #leave(key: string, stream: SessionListStream): void {
    const entry = this.#watches.get(key);
    if (entry?.streams.delete(stream) === true && entry.streams.size === 0) {
      this.#watches.delete(key);
      this.#settled.delete(entry.watch);
      entry.watch.close();
    }
    this.#release();
  }

  #release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#unfollow();
  }

  #unfollow(): void {
    if (this.#log === null) return;
    const log = this.#log;
    this.#log = null;
    log.then(stream => stream.return?.()).catch(() => undefined);
  }

  /** Follows the log, if it is not followed yet. @returns a place of the log up to which all is committed */
  async #follow(): Promise<bigint> {
    const { events } = this.#options;
    const now = await events.sync();
    if (this.#log === null) {
      this.#position = now;
      const log = events.subscribe({ visibleAgents: null, after: now });
      this.#log = log;
      log.then(
        stream => void this.#pump(log, stream),
        () => {
          if (this.#log === log) this.#log = null;
        },
      );
    }
    await this.#log;
    return now;
  }

  async #pump(log: Promise<AsyncIterableIterator<StoredEvent>>, stream: AsyncIterableIterator<StoredEvent>): Promise<void> {
    try {
      for await (const event of stream) {
        if (this.#log !== log) return;
        this.#position = event.seq;
        for (const watch of this.#settled) if (watch.notice(event)) this.#settled.delete(watch);
      }
    } catch (error) {
      this.#options.log.warn({ reason: String(error) }, 'live lists have lost the event log and take it up anew');
      if (this.#log === log) await this.#followAnew();
      return;
    }
    // The process shuts down.
    if (this.#log === log) for (const { streams } of [...this.#watches.values()]) for (const each of [...streams]) each.end();
  }

  async #followAnew(): Promise<void> {
    this.#log = null;
    const since = performance.now();
    while (this.#users > 0) {
      try {
        await this.#follow();
        for (const { watch } of this.#watches.values()) watch.restart();
        // All may have left meanwhile.
        if (this.#users === 0) this.#unfollow();
        return;
      } catch (error) {
        if (performance.now() - since >= GIVE_UP_MS) for (const { streams } of [...this.#watches.values()]) failAll(streams, error);
        await new Promise(resolve => setTimeout(resolve, RESTART_MS));
      }
    }
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#readings >= MAX_READINGS) await new Promise<void>(resolve => this.#queue.push(resolve));
    else this.#readings += 1;
    try {
      return await work();
    } finally {
      // Whose turn it is takes over the place.
      const next = this.#queue.shift();
      if (next === undefined) this.#readings -= 1;
      else next();
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

/** Equal for lists that are read by the same statements. */
function keyOf(viewer: Viewer, { filter, orderBy, first, pageSize, groups, withTotal }: SessionListRequest): string {
  const agents = viewer.agentIds?.toSorted() ?? null;
  return JSON.stringify([agents, filter ?? null, orderBy ?? null, first ?? pageSize.default, groups, withTotal]);
}
