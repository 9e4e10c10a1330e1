import { setTimeout } from 'node:timers/promises';
import { DomainError } from '../errors.ts';
import { sqlStateOf } from '../postgres/sql-state.ts';
import { CatchUpReader, type EventBacklog } from './catch-up-reader.ts';
import { type EventMatch, EventMatcher } from './event-matcher.ts';
import { EventLogExpiredError } from './event-table.ts';
import type { StoredEvent } from './stored-event.ts';

/** Where a subscription registers while it is live. */
export interface SubscriptionRegistry {
  add(subscription: EventSubscription): void;
  remove(subscription: EventSubscription): void;
}

export interface EventSubscriptionOptions {
  readonly match: EventMatch;
  /** The subscription delivers the matching events after this position of the log. */
  readonly position: bigint;
  /** Maximum events buffered for a slow consumer. */
  readonly bufferSize: number;
  readonly backlog: EventBacklog;
  readonly registry: SubscriptionRegistry;
  readonly onEnd: (subscription: EventSubscription) => void;
  /** Called with the first of several errors in a row while reading the backlog. */
  readonly onReadError: (error: unknown) => void;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;

/** After this many rejected statements in a row, the stream fails. */
const MAX_REJECTIONS = 5;

/** SQLSTATE codes of states that pass: connection exceptions, insufficient resources such as a full disk, and shutdowns. */
const TEMPORARY_STATE = /^(08|53|57P)/;

/** Whether Postgres rejected the statement, and not because of its own temporary state. */
function isRejection(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== null && !TEMPORARY_STATE.test(state);
}

interface Waiter {
  readonly resolve: (result: IteratorResult<StoredEvent>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One subscriber's stream: every matching event after its position, once and in the order of the log, until `return` or `end`.
 *
 * The subscription is either *live* or *behind*. While it is live, the dispatcher pushes events to it. While it is behind, it is not
 * registered with the dispatcher and buffers little: it reads events from the reader's memory or from the table, as fast as the consumer
 * asks. It starts behind, goes live when it has caught up, and falls behind again when its buffer is full. If the database is unreachable, it
 * waits. If the database is reachable but keeps rejecting the statements, it fails with SERVICE_UNAVAILABLE.
 */
export class EventSubscription implements AsyncIterableIterator<StoredEvent> {
  readonly #options: EventSubscriptionOptions;
  readonly #matcher: EventMatcher;
  readonly #catchUpReader: CatchUpReader;
  /** Matching events up to here are in the buffer or delivered. While live: as of the moment it went live. */
  #position: bigint;
  #buffer: StoredEvent[] = [];
  #waiters: Waiter[] = [];
  #isLive = false;
  #isCatchingUp = false;
  #hasEnded = false;
  /** The stream ends when it has caught up with this position. Null if it goes on. */
  #endPosition: bigint | null = null;
  #failure: Error | null = null;
  /** True from the delivery of an event until the consumer asks for the next one. */
  #isConsumerBusy = false;

  constructor(options: EventSubscriptionOptions) {
    this.#options = options;
    this.#matcher = new EventMatcher(options.match);
    this.#catchUpReader = new CatchUpReader(options.backlog, this.#matcher, options.bufferSize);
    this.#position = options.position;
  }

  /** The sessions whose events it wants now. Null for all. */
  get sessionIds(): Iterable<string> | null {
    return this.#matcher.sessionIds;
  }

  /** The agents whose events it wants. Null for all. */
  get agentIds(): Iterable<string> | null {
    return this.#matcher.agentIds;
  }

  get followsChildren(): boolean {
    return this.#options.match.followChildren;
  }

  /** True while the subscription reads its events itself. */
  get isBehind(): boolean {
    return !this.#isLive;
  }

  /** Number of buffered events. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /**
   * The position from which the consumer can resume: it has processed all matching events up to here. The position also advances while no
   * event matches. Assumes a consumer that asks for one event at a time. Null while an event is being processed, and after the end.
   */
  get settledSeq(): bigint | null {
    if (this.#isConsumerBusy || this.#hasEnded || this.#buffer.length > 0) return null;
    return this.#isLive ? this.#options.backlog.position : this.#position;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<StoredEvent>> {
    const event = this.#buffer.shift();
    this.#isConsumerBusy = event !== undefined;
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#failure !== null) {
      const failure = this.#failure;
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#hasEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      if (!this.#isLive && !this.#isCatchingUp) void this.#catchUp();
    });
  }

  /** The next event if it is buffered and no call of `next` waits, else null. */
  takeNow(): StoredEvent | null {
    const event = this.#waiters.length === 0 ? this.#buffer.shift() : undefined;
    if (event === undefined) return null;
    this.#isConsumerBusy = true;
    return event;
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

  /** Ends the stream immediately. Pending calls of `next` resolve. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#stopLive();
    this.#buffer = [];
    for (const { resolve } of this.#waiters.splice(0)) resolve({ done: true, value: undefined });
    this.#options.onEnd(this);
  }

  /** Ends the stream after the matching events up to a position of the log. Call this before the first `next`. */
  endAt(position: bigint): void {
    this.#endPosition = position;
  }

  /** Ends the stream with an error, after the buffered events. */
  fail(error: Error): void {
    if (this.#hasEnded) return;
    const waiter = this.#waiters.shift();
    this.#finish();
    if (waiter === undefined) this.#failure = error;
    else waiter.reject(error);
  }

  /** Ends the stream after the buffered events. */
  #finish(): void {
    const buffer = this.#buffer;
    this.end();
    this.#buffer = buffer;
  }

  /**
   * Takes an event from the dispatcher.
   * @returns true if the buffer has become half full: if the consumer runs before the next event, it can keep up
   */
  push(event: StoredEvent): boolean {
    if (!this.#isLive || event.seq <= this.#position) return false;
    if (!this.#matcher.matches(event)) {
      if (this.#matcher.isLast(event)) this.#finish();
      return false;
    }
    const { bufferSize } = this.#options;
    if (this.#waiters.length === 0 && this.#buffer.length >= bufferSize) {
      const first = this.#buffer[0] ?? event;
      this.#buffer = [];
      this.#fallBehind(first.seq - 1n);
      return false;
    }
    this.#deliver(event);
    return this.#buffer.length === Math.ceil(bufferSize / 2);
  }

  /**
   * Handles an event that makes its session the child of a followed session: follows this session too. The dispatcher calls this before
   * `push`.
   * @returns true if the session was not followed before
   */
  followChild(event: StoredEvent): boolean {
    if (!this.#isLive || event.seq <= this.#position) return false;
    const child = this.#matcher.newChild(event);
    if (child === null) return false;
    if (child.mayHaveDescendants) {
      // The descendants must be read before any later event is delivered.
      this.#fallBehind(event.seq - 1n);
      return false;
    }
    return this.#matcher.follow([child.node], event);
  }

  /**
   * Handles an event that takes its session's parent away: stops following this session and its descendants. The dispatcher calls this after
   * `push`, because the consumer still gets the event.
   * @returns the sessions that are no longer followed
   */
  unfollow(event: StoredEvent): readonly string[] {
    if (!this.#isLive || event.seq <= this.#position) return [];
    return this.#matcher.unfollow(event);
  }

  #deliver(event: StoredEvent): void {
    const waiter = this.#waiters.shift();
    this.#isConsumerBusy = waiter !== undefined;
    if (waiter === undefined) this.#buffer.push(event);
    else waiter.resolve({ done: false, value: event });
  }

  #stopLive(): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#options.registry.remove(this);
  }

  #fallBehind(position: bigint): void {
    this.#stopLive();
    this.#position = position;
    this.#matcher.rewind(position);
    if (this.#waiters.length > 0) void this.#catchUp();
  }

  async #catchUp(): Promise<void> {
    this.#isCatchingUp = true;
    let retryMs = FIRST_RETRY_MS;
    let failures = 0;
    let rejections = 0;
    while (!this.#isLive && !this.#hasEnded && this.#waiters.length > 0) {
      try {
        await this.#readNext();
        retryMs = FIRST_RETRY_MS;
        failures = 0;
        rejections = 0;
      } catch (error) {
        rejections = isRejection(error) ? rejections + 1 : 0;
        failures += 1;
        if (error instanceof EventLogExpiredError) {
          this.fail(error);
          break;
        }
        if (failures === 1 && !this.#hasEnded) this.#options.onReadError(error);
        if (rejections === MAX_REJECTIONS) {
          this.fail(
            new DomainError('SERVICE_UNAVAILABLE', 'The event log cannot be read. Subscribe again with the cursor of the last event.'),
          );
        } else {
          await setTimeout(retryMs, undefined, { ref: false });
          retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
        }
      }
    }
    this.#isCatchingUp = false;
  }

  async #readNext(): Promise<void> {
    const { backlog, registry } = this.#options;
    const { unreadRoots } = this.#matcher;
    if (unreadRoots !== null) {
      this.#matcher.setTree(await backlog.withDescendants(unreadRoots, this.#position));
      if (this.#hasEnded) return;
    }
    const end = this.#endPosition ?? backlog.position;
    if (this.#endPosition !== null && this.#position >= this.#endPosition) return this.#finish();
    if (this.#matcher.matchesNothing && this.#position < end) this.#position = end;
    if (this.#position >= end) {
      this.#isLive = true;
      registry.add(this);
      return;
    }
    const { events, reached, maxDelivered } = await this.#catchUpReader.read(this.#position, end);
    for (const event of events) {
      if (this.followsChildren) await this.#followFromBacklog(event);
      if (this.#hasEnded) return;
      this.#position = event.seq;
      if (this.#matcher.matches(event)) this.#deliver(event);
      else if (this.#matcher.isLast(event)) return this.#finish();
      this.#matcher.unfollow(event);
      if (this.#buffer.length >= maxDelivered) return;
    }
    this.#position = reached;
  }

  async #followFromBacklog(event: StoredEvent): Promise<void> {
    const child = this.#matcher.newChild(event);
    if (child === null) return;
    const descendants = child.mayHaveDescendants ? await this.#options.backlog.withDescendants([child.node.id], event.seq) : [];
    this.#matcher.follow([child.node, ...descendants], event);
  }
}
