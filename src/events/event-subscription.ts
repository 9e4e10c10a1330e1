import { setTimeout } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { DomainError } from '../errors.ts';
import { type EventBatch, EventLogExpiredError, type EventRange, type EventTableFilter, MAX_PROBED, NARROW_RANGE } from './event-table.ts';
import { FollowedTree, type TreeNode } from './followed-tree.ts';
import { leftParent, linkedParent, type StoredEvent } from './stored-event.ts';

/** Which events a subscription gets: those that pass all four. */
export interface EventMatch {
  /** Events of these sessions (UUIDs in lower case); null for all. */
  readonly sessionIds: readonly string[] | null;
  /** Events of these agents; null for all. */
  readonly agentIds: readonly string[] | null;
  readonly types: readonly string[] | null;
  /** Also events of the descendants of `sessionIds`, of each while it is one. */
  readonly followChildren: boolean;
}

/** Where a subscription that is behind finds its events. */
export interface EventSource {
  /** All up to here has been dispatched; what comes later reaches the subscriptions that are live. */
  readonly position: bigint;
  recent(after: bigint): readonly StoredEvent[] | null;
  read(range: EventRange, filter: EventTableFilter): Promise<EventBatch>;
  readLinks(range: EventRange): Promise<EventBatch>;
  withDescendants(sessionIds: readonly string[], asOf: bigint): Promise<readonly TreeNode[]>;
}

/** Where a subscription is registered while it is live. */
export interface EventTopics {
  add(subscription: EventSubscription): void;
  remove(subscription: EventSubscription): void;
}

/** What a subscription needs. */
export interface EventSubscriptionOptions {
  readonly match: EventMatch;
  /** The first event is the first matching one behind this place of the log. */
  readonly position: bigint;
  /** Most events held for a consumer that does not take them. */
  readonly bufferSize: number;
  readonly source: EventSource;
  readonly topics: EventTopics;
  readonly onEnd: (subscription: EventSubscription) => void;
  /** Its events could not be fetched; of several failures in a row, the first. */
  readonly onTrouble: (error: unknown) => void;
}

/** How far one statement looks where events are found session by session and hardly any match: what lies between them costs nothing. */
const MAX_RANGE = 1_048_576n;
/** Most links that are read at once, and most events where all of them have to be looked at here. */
const FOLLOW_LIMIT = 1_024;

/** Most events from the table that wait for one consumer: unlike those the reader keeps, they are its own, and thousands may be stuck. */
const TABLE_BATCH = 64;

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;

/** A database that is there and says no so many times in a row will not say yes the next time. */
const MAX_REFUSALS = 5;

/** SQLSTATEs of a database that goes away, comes back, or has no connections to give. */
const AWAY = /^(08|53|57P)/;

function earlier(a: bigint, b: bigint): bigint {
  // Math.min takes no bigint.
  if (a < b) return a;
  return b;
}

function isRefusal(error: unknown): boolean {
  return error instanceof DatabaseError && !AWAY.test(error.code ?? '');
}

interface Waiter {
  readonly resolve: (result: IteratorResult<StoredEvent>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One consumer's stream: every matching event behind its place of the log, once and in order, until `return` or `end`.
 *
 * It is *live* while the dispatcher hands it events, or *behind*: then it holds nothing, stands in no index, and is served from the
 * newest events kept by the reader or from the table, as fast as the consumer asks. It starts behind, goes live when it has caught
 * up, and falls behind again when its buffer is full. While the database is away it waits; where the database is there but refuses what
 * it asks for, it ends with SERVICE_UNAVAILABLE.
 */
export class EventSubscription implements AsyncIterableIterator<StoredEvent> {
  readonly #options: EventSubscriptionOptions;
  /** Of the events it gets where it follows no others; else of all that may be links. */
  readonly #filter: EventTableFilter;
  /** How far the next statement looks. */
  #window = NARROW_RANGE;
  /** The sessions it names, where it follows no others; null for all. */
  readonly #sessions: ReadonlySet<string> | null;
  /** Those it names and their descendants, as of `#position`, and while live as of the last event that was dispatched. */
  readonly #tree: FollowedTree | null;
  /** False where the tree has to be read anew. */
  #treeIsCurrent = false;
  /** The last event that changed the tree. */
  #treeChangedAt = 0n;
  readonly #agents: ReadonlySet<string> | null;
  readonly #types: ReadonlySet<string> | null;
  readonly #matchesNothing: boolean;
  /** Everything up to here is in the buffer or has been delivered; while live, as it was when it went live. */
  #position: bigint;
  #buffer: StoredEvent[] = [];
  #waiters: Waiter[] = [];
  #live = false;
  #catchingUp = false;
  #ended = false;
  #failure: Error | null = null;
  /** From when an event is given out until the next one is asked for. */
  #isTaken = false;

  constructor(options: EventSubscriptionOptions) {
    const { sessionIds, agentIds, types, followChildren } = options.match;
    this.#options = options;
    this.#sessions = sessionIds === null ? null : new Set(sessionIds);
    this.#tree = followChildren && sessionIds !== null ? new FollowedTree(sessionIds) : null;
    this.#agents = agentIds === null ? null : new Set(agentIds);
    this.#types = types === null ? null : new Set(types);
    this.#matchesNothing = [sessionIds, agentIds, types].some(list => list?.length === 0);
    // Who follows children must see the links of all sessions, whatever else is filtered.
    this.#filter = followChildren ? { sessionIds: null, agentIds: null, types: null } : { sessionIds, agentIds, types };
    this.#position = options.position;
  }

  /** The sessions it watches by now; null where it watches all. */
  get sessionIds(): Iterable<string> | null {
    return this.#tree?.ids ?? this.#sessions;
  }

  /** The agents it watches; null where it watches all. */
  get agentIds(): Iterable<string> | null {
    return this.#agents;
  }

  get followsChildren(): boolean {
    return this.#options.match.followChildren;
  }

  /** True while events have to be fetched for it. */
  get isBehind(): boolean {
    return !this.#live;
  }

  /** Events held for the consumer. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /**
   * The place of the log up to which everything that matches has been given out and dealt with, as far as a consumer that takes one event
   * at a time has asked for the next: however long none has come, it can go on from here. Null while an event is on its way, and at the end.
   */
  get settledSeq(): bigint | null {
    if (this.#isTaken || this.#ended || this.#buffer.length > 0) return null;
    return this.#live ? this.#options.source.position : this.#position;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<StoredEvent>> {
    const event = this.#buffer.shift();
    this.#isTaken = event !== undefined;
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#failure !== null) {
      const failure = this.#failure;
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      if (!this.#live && !this.#catchingUp) void this.#catchUp();
    });
  }

  return(): Promise<IteratorResult<StoredEvent>> {
    this.end();
    this.#buffer = [];
    this.#failure = null;
    return Promise.resolve({ done: true, value: undefined });
  }

  async throw(error: unknown): Promise<IteratorResult<StoredEvent>> {
    await this.return();
    return Promise.reject(error);
  }

  /** Ends the stream at once; whoever waits for an event is told. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#goBehind();
    this.#buffer = [];
    for (const { resolve } of this.#waiters.splice(0)) resolve({ done: true, value: undefined });
    this.#options.onEnd(this);
  }

  /** Ends the stream with an error, after the events that are buffered. */
  fail(error: Error): void {
    if (this.#ended) return;
    const waiter = this.#waiters.shift();
    const buffer = this.#buffer;
    this.end();
    this.#buffer = buffer;
    if (waiter === undefined) this.#failure = error;
    else waiter.reject(error);
  }

  /** Takes an event from the dispatcher. */
  push(event: StoredEvent): void {
    if (!this.#live || event.seq <= this.#position || !this.#matches(event)) return;
    if (this.#waiters.length === 0 && this.#buffer.length >= this.#options.bufferSize) {
      const first = this.#buffer[0] ?? event;
      this.#buffer = [];
      this.#fallBehind(first.seq - 1n);
    } else {
      this.#offer(event);
    }
  }

  /**
   * Takes notice, while live, of an event that makes its session a child of one that is watched.
   * @returns true where that session is watched from now on
   */
  adopt(event: StoredEvent): boolean {
    const tree = this.#tree;
    if (!this.#live || event.seq <= this.#position || tree === null) return false;
    if (event.type !== 'CREATED' && !tree.has(event.sessionId)) {
      // A session that gets its parent later may have descendants already: they must be looked up before anything else is delivered.
      this.#fallBehind(event.seq - 1n);
      return false;
    }
    const isNew = !tree.has(event.sessionId);
    this.#join(tree, [{ id: event.sessionId, parentId: linkedParent(event) }], event);
    return isNew;
  }

  /**
   * Takes notice, while live, of an event, already pushed, after which its session is no longer the child it was.
   * @returns the sessions that are no longer watched
   */
  release(event: StoredEvent): readonly string[] {
    if (!this.#live || event.seq <= this.#position) return [];
    return this.#leave(event);
  }

  #matches(event: StoredEvent): boolean {
    if (this.#types !== null && !this.#types.has(event.type)) return false;
    if (this.#agents !== null && !this.#agents.has(event.agentId)) return false;
    return (this.#tree ?? this.#sessions)?.has(event.sessionId) ?? true;
  }

  #offer(event: StoredEvent): void {
    const waiter = this.#waiters.shift();
    this.#isTaken = waiter !== undefined;
    if (waiter === undefined) this.#buffer.push(event);
    else waiter.resolve({ done: false, value: event });
  }

  #goBehind(): void {
    if (!this.#live) return;
    this.#live = false;
    this.#options.topics.remove(this);
  }

  #fallBehind(position: bigint): void {
    this.#goBehind();
    this.#position = position;
    if (this.#treeChangedAt > position) this.#treeIsCurrent = false;
    if (this.#waiters.length > 0) void this.#catchUp();
  }

  async #catchUp(): Promise<void> {
    this.#catchingUp = true;
    let retryMs = FIRST_RETRY_MS;
    let failures = 0;
    let refusals = 0;
    while (!this.#live && !this.#ended && this.#waiters.length > 0) {
      try {
        await this.#step();
        retryMs = FIRST_RETRY_MS;
        failures = 0;
        refusals = 0;
      } catch (error) {
        refusals = isRefusal(error) ? refusals + 1 : 0;
        failures += 1;
        if (error instanceof EventLogExpiredError) {
          this.fail(error);
          break;
        }
        if (failures === 1 && !this.#ended) this.#options.onTrouble(error);
        if (refusals === MAX_REFUSALS) {
          this.fail(new DomainError('SERVICE_UNAVAILABLE', 'The event log cannot be read; subscribe again behind the last event.'));
        } else {
          await setTimeout(retryMs, undefined, { ref: false });
          retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
        }
      }
    }
    this.#catchingUp = false;
  }

  async #step(): Promise<void> {
    const { source, bufferSize, topics } = this.#options;
    if (this.#tree !== null && !this.#treeIsCurrent) {
      this.#tree.reset(await source.withDescendants([...this.#tree.named], this.#position));
      this.#treeIsCurrent = true;
      if (this.#ended) return;
    }
    const end = source.position;
    if (this.#matchesNothing && this.#position < end) this.#position = end;
    if (this.#position >= end) {
      this.#live = true;
      topics.add(this);
      return;
    }
    const recent = source.recent(this.#position);
    if (recent !== null) {
      await this.#take(recent, end, bufferSize);
      return;
    }
    const { filter, through } = await this.#within(earlier(this.#position + this.#window, end));
    // Of those that are read only to be looked at here, many pass at once.
    const looksAtAll = this.followsChildren && filter.sessionIds === null;
    const most = looksAtAll ? bufferSize : Math.min(bufferSize, TABLE_BATCH);
    const limit = looksAtAll ? FOLLOW_LIMIT : most;
    const { events, reached } = await source.read({ after: this.#position, through, limit }, filter);
    const isProbing = filter.sessionIds !== null && filter.sessionIds.length <= MAX_PROBED;
    const isSparse = reached === through && 2 * events.length < limit;
    this.#window = isProbing && isSparse ? earlier(2n * this.#window, MAX_RANGE) : NARROW_RANGE;
    await this.#take(events, reached, most);
  }

  /**
   * The filter for what comes next, up to some place at most. Who follows children gets, beside what it wants, all events of the sessions that
   * are followed at some time up to there, their links among them; where they are too many, all events.
   */
  async #within(most: bigint): Promise<{ readonly filter: EventTableFilter; readonly through: bigint }> {
    if (this.#tree === null) return { filter: this.#filter, through: most };
    const { events, reached } = await this.#options.source.readLinks({ after: this.#position, through: most, limit: FOLLOW_LIMIT });
    const followed = new Set(this.#tree.ids);
    for (const event of events) {
      const parentId = linkedParent(event);
      if (parentId === null || !followed.has(parentId)) continue;
      // Who comes with a subtree of its own is looked up when it comes.
      const isAlone = event.type === 'CREATED' || followed.has(event.sessionId);
      followed.add(event.sessionId);
      if (!isAlone) return { filter: this.#filterOf(followed), through: event.seq };
    }
    return { filter: this.#filterOf(followed), through: reached };
  }

  #filterOf(followed: ReadonlySet<string>): EventTableFilter {
    return followed.size <= MAX_PROBED ? { ...this.#filter, sessionIds: [...followed] } : this.#filter;
  }

  async #take(events: readonly StoredEvent[], reached: bigint, most: number): Promise<void> {
    for (const event of events) {
      if (this.followsChildren) await this.#follow(event);
      if (this.#ended) return;
      this.#position = event.seq;
      if (this.#matches(event)) this.#offer(event);
      this.#leave(event);
      if (this.#buffer.length >= most) return;
    }
    this.#position = reached;
  }

  async #follow(event: StoredEvent): Promise<void> {
    const tree = this.#tree;
    const parentId = linkedParent(event);
    if (tree === null || parentId === null || !tree.has(parentId)) return;
    const own = { id: event.sessionId, parentId };
    if (event.type === 'CREATED' || tree.has(event.sessionId)) this.#join(tree, [own], event);
    else this.#join(tree, [own, ...(await this.#options.source.withDescendants([event.sessionId], event.seq))], event);
  }

  #join(tree: FollowedTree, nodes: readonly TreeNode[], event: StoredEvent): void {
    for (const node of nodes) tree.join(node);
    this.#treeChangedAt = event.seq;
  }

  #leave(event: StoredEvent): readonly string[] {
    if (this.#tree === null || leftParent(event) === null || !this.#tree.has(event.sessionId)) return [];
    this.#treeChangedAt = event.seq;
    return this.#tree.leave(event.sessionId);
  }
}
