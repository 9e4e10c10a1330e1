import type { EventMatcher } from './event-matcher.ts';
import { type EventBatch, type EventTableFilter, MAX_PROBED, NARROW_RANGE, type StreamReading } from './event-table.ts';
import { linkedParent, type StoredEvent } from './stored-event.ts';

/** Where a subscription that is behind reads its events. */
export interface EventBacklog extends StreamReading {
  /** Events up to here have been dispatched. Later ones reach the subscriptions that are live. */
  readonly position: bigint;
  /** The events after a position, if all of them are still in memory; else null. */
  recent(after: bigint): readonly StoredEvent[] | null;
}

/** Events for a subscription that is behind. Some may not match. */
export interface CatchUpBatch extends EventBatch {
  /** Deliver at most this many. When the consumer has taken them, read again from the last one. */
  readonly maxDelivered: number;
}

/** The largest range of one statement that finds events session by session. Events of other sessions in between cost nothing. */
const MAX_RANGE = 1_048_576n;

/** Maximum links per statement, and maximum events per statement if this process filters them, not Postgres. */
const FOLLOW_LIMIT = 1_024;

/**
 * Maximum events from the table that wait for one consumer. Events kept by the reader are shared; these are not, and thousands of
 * consumers may be stuck.
 */
const TABLE_BATCH = 64;

/** Reads what comes next for a subscription that is behind: from memory if the reader still has it, else from the table. */
export class CatchUpReader {
  readonly #backlog: EventBacklog;
  readonly #matcher: EventMatcher;
  readonly #bufferSize: number;
  /** The range of the next statement. */
  #window = NARROW_RANGE;

  constructor(backlog: EventBacklog, matcher: EventMatcher, bufferSize: number) {
    this.#backlog = backlog;
    this.#matcher = matcher;
    this.#bufferSize = bufferSize;
  }

  /**
   * The events after `position`, up to `end` at most.
   * @throws EventLogExpiredError, the error of pg
   */
  async read(position: bigint, end: bigint): Promise<CatchUpBatch> {
    const recent = end <= this.#backlog.position ? this.#backlog.recent(position) : null;
    if (recent !== null) return { events: recent, reached: end, maxDelivered: this.#bufferSize };
    const { filter, through } = await this.#filterFor(position, earlier(position + this.#window, end));
    const filtersHere = this.#matcher.match.followChildren && filter.sessionIds === null;
    const maxDelivered = filtersHere ? this.#bufferSize : Math.min(this.#bufferSize, TABLE_BATCH);
    const limit = filtersHere ? FOLLOW_LIMIT : maxDelivered;
    const { events, reached } = await this.#backlog.read({ after: position, through, limit }, filter);
    const isProbing = filter.sessionIds !== null && filter.sessionIds.length <= MAX_PROBED;
    const isSparse = reached === through && 2 * events.length < limit;
    this.#window = isProbing && isSparse ? earlier(2n * this.#window, MAX_RANGE) : NARROW_RANGE;
    return { events, reached, maxDelivered };
  }

  /**
   * The filter for the events after `position`, and up to where it is valid. A subscription that follows children reads all events of the
   * sessions that it follows at any time up to there, including their links. If there are too many sessions, it reads all events.
   */
  async #filterFor(position: bigint, end: bigint): Promise<{ readonly filter: EventTableFilter; readonly through: bigint }> {
    const { match, sessionIds } = this.#matcher;
    if (!match.followChildren || sessionIds === null) return { filter: { ...match, types: this.#matcher.neededTypes }, through: end };
    const { events, reached } = await this.#backlog.readLinks({ after: position, through: end, limit: FOLLOW_LIMIT });
    const followed = new Set(sessionIds);
    for (const event of events) {
      const parentId = linkedParent(event);
      if (parentId === null || !followed.has(parentId)) continue;
      const mayHaveDescendants = event.type !== 'CREATED' && !followed.has(event.sessionId);
      followed.add(event.sessionId);
      // Stop here: the ids of its descendants are unknown until they are read, when this event is delivered.
      if (mayHaveDescendants) return { filter: filterOf(followed), through: event.seq };
    }
    return { filter: filterOf(followed), through: reached };
  }
}

function filterOf(followed: ReadonlySet<string>): EventTableFilter {
  return { sessionIds: followed.size <= MAX_PROBED ? [...followed] : null, agentIds: null, types: null };
}

function earlier(a: bigint, b: bigint): bigint {
  // Math.min does not accept bigint.
  return a < b ? a : b;
}
