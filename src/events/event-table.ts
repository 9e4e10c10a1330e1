import pLimit from 'p-limit';
import type { QueryConfig, QueryResult } from 'pg';
import { DomainError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { ReconnectingConnection } from '../postgres/reconnecting-connection.ts';
import type { TreeNode } from './followed-tree.ts';
import { type EventRow, type StoredEvent, toStoredEvent } from './stored-event.ts';

/** An event must match all three lists. Null matches all events. */
export interface EventTableFilter {
  readonly sessionIds: readonly string[] | null;
  readonly agentIds: readonly string[] | null;
  readonly types: readonly string[] | null;
}

/** The events with `after < seq <= through`, in order, at most `limit`. */
export interface EventRange {
  readonly after: bigint;
  readonly through: bigint;
  readonly limit: number;
}

/** The matching events of part of the log. */
export interface EventBatch {
  readonly events: readonly StoredEvent[];
  /** `events` has all matching events up to this position. */
  readonly reached: bigint;
}

/** CURSOR_EXPIRED: the log has dropped events after the position at which a reader wants to continue. */
export class EventLogExpiredError extends DomainError {
  constructor() {
    super('CURSOR_EXPIRED', 'Events after this cursor have been dropped. Read the current state again and subscribe without a cursor.');
  }
}

/** Reads sequenced events, and the tree of sessions that decides which subscriptions get them. All methods throw the errors of pg. */
export interface EventTable {
  /**
   * Reads the newest events for the reader of this process, on a connection of its own.
   * @throws EventLogExpiredError
   */
  readNew(after: bigint, limit: number): Promise<EventBatch>;
  /** The reads of one subscription. All subscriptions share a few connections. */
  readingFor(subscription: ReadingSubscription): StreamReading;
  /** The position up to which events have been dropped. */
  expiredSeq(): Promise<bigint>;
  close(): Promise<void>;
}

interface ReadingSubscription {
  /** Checked before each statement. If it is false, nothing is read and the read rejects. */
  isOpen(): boolean;
}

/** The reads of a subscription that is behind. They wait for a free connection without a timeout. All methods throw the errors of pg. */
export interface StreamReading {
  /** @throws EventLogExpiredError */
  read(range: EventRange, filter: EventTableFilter): Promise<EventBatch>;
  /**
   * The events that gave a session a parent or took it away.
   * @throws EventLogExpiredError
   */
  readLinks(range: EventRange): Promise<EventBatch>;
  /**
   * These sessions, even if they do not exist, and all their descendants as of a position of the log, including trashed sessions and sessions
   * that have been removed for good since. The given sessions have a null parent.
   * @throws EventLogExpiredError
   */
  withDescendants(sessionIds: readonly string[], asOf: bigint): Promise<readonly TreeNode[]>;
}

/** Ranges up to this size are scanned in the order of the log, whatever the filter. */
export const NARROW_RANGE = 4_096n;

/** In larger ranges, events of up to this many sessions are found session by session, so events of other sessions cost nothing. */
export const MAX_PROBED = 256;

const SHARED_CONNECTIONS = 2;

const END_OF_LOG = 2n ** 63n - 1n;

// These settings make Postgres use the index on seq of each partition, even if the statistics are wrong. JIT is off because it depends on
// costs, which these settings make meaningless.
const SETTINGS = { jit: 'off', plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', enable_bitmapscan: 'off', enable_sort: 'off' };

const COLUMNS = `seq, id, (extract(epoch from occurred_at) * 1000)::bigint as "occurredAtMs", session_id as "sessionId", agent_id as "agentId",
    type, payload`;

// The same statement reads how far the log has been dropped. That is recorded before a partition is dropped, so a reader never mistakes dropped
// events for the end of the log.
const withExpiry = (events: string) => `
select state.expired_seq as "expiredSeq", e.*
from aria_engine.event_log_state state left join lateral (${events}) e on true`;

const MATCHES = `seq > $1 and seq <= $2 and ($5::text[] is null or agent_id = any ($5)) and ($6::text[] is null or type::text = any ($6))`;

const READ = withExpiry(`
  select ${COLUMNS} from aria_engine.session_events where ${MATCHES} and ($4::uuid[] is null or session_id = any ($4))
  order by seq limit $3`);

const READ_PROBING = withExpiry(`
  select found.* from unnest($4::uuid[]) wanted(id) cross join lateral (
    select ${COLUMNS} from aria_engine.session_events where session_id = wanted.id and ${MATCHES} order by seq limit $3
  ) found order by seq limit $3`);

const READ_LINKS = withExpiry(`
  select ${COLUMNS} from aria_engine.session_events where seq > $1 and seq <= $2 and payload ?| '{parentId,formerParentId}'
  order by seq limit $3`);

// The current tree, except for sessions whose parent has changed since: the first of these changes has the former parent. Unsequenced events
// count as later.
const TREE = `
with recursive change as materialized (
  select session_id, seq, id, payload from aria_engine.session_events where seq > $2 and payload ?| '{parentId,formerParentId}'
    and seq is not null
  union all
  select session_id, seq, id, payload from aria_engine.session_events where seq is null and payload ?| '{parentId,formerParentId}'
), link as materialized (
  select distinct on (session_id) session_id as id,
    coalesce(payload ->> 'formerParentId', case when payload ? 'permanent' then payload ->> 'parentId' end)::uuid as parent_id
  from change order by session_id, seq nulls last, id
), former as materialized (
  select id, parent_id from link where parent_id is not null
), tree as (
  select id, null::uuid as parent_id from unnest($1::uuid[]) id
  union
  select child.id, child.parent_id from tree cross join lateral (
    select s.id, s.parent_id from aria_engine.chat_sessions s where s.parent_id = tree.id and s.id not in (select id from link)
    union all
    select former.id, former.parent_id from former where former.parent_id = tree.id
  ) child
)
select tree.id, tree.parent_id as "parentId", state.expired_seq as "expiredSeq" from aria_engine.event_log_state state cross join tree`;

function statementFor({ after, through }: EventRange, { sessionIds, agentIds, types }: EventTableFilter) {
  const values = [sessionIds, agentIds, types];
  const probes = through - after > NARROW_RANGE && sessionIds !== null && sessionIds.length <= MAX_PROBED;
  return probes ? { name: 'read_probing', text: READ_PROBING, values } : { name: 'read_events', text: READ, values };
}

type Row = { readonly expiredSeq: string } & (EventRow | { readonly seq: null });

/** Opens the table for reading. Connects when a connection is first needed. */
export function createEventTable({ url, log }: { readonly url: string; readonly log: Logger }): EventTable {
  const newest = new ReconnectingConnection({ url, log, settings: SETTINGS, name: 'sessiongraph event reader' });
  const shared = Array.from(
    { length: SHARED_CONNECTIONS },
    () => new ReconnectingConnection({ url, log, settings: SETTINGS, name: 'sessiongraph event catch-up' }),
  );
  // Not a pool, because its queue has a timeout. A stream waits for a connection as long as it takes.
  const limit = pLimit(SHARED_CONNECTIONS);
  const idle = [...shared];
  async function queryShared(query: QueryConfig): Promise<QueryResult | undefined> {
    const connection = idle.pop();
    if (connection === undefined) throw new Error('No connection is idle, although the limit allows a statement.');
    try {
      return (await connection.query(query))[0];
    } finally {
      idle.push(connection);
    }
  }

  async function read(
    send: (query: QueryConfig) => Promise<QueryResult | undefined>,
    { after, through, limit }: EventRange,
    statement: { readonly name: string; readonly text: string; readonly values?: readonly unknown[] },
  ): Promise<EventBatch> {
    const { name, text, values = [] } = statement;
    const result = await send({ name, text, values: [String(after), String(through), limit, ...values] });
    const rows: readonly Row[] = result?.rows ?? [];
    const first = rows[0];
    if (first === undefined) throw new Error('The row of aria_engine.event_log_state is missing.');
    if (BigInt(first.expiredSeq) > after) throw new EventLogExpiredError();
    const events: StoredEvent[] = [];
    let last = after;
    let number = 0;
    for (const row of rows) {
      if (row.seq === null) continue;
      number += 1;
      last = BigInt(row.seq);
      const event = toStoredEvent(row);
      if (event === null) log.debug({ seq: row.seq, type: row.type }, 'skipped an event of an unknown type or with an invalid payload');
      else events.push(event);
    }
    return { events, reached: number < limit && through !== END_OF_LOG ? through : last };
  }

  return {
    readNew(after, limit) {
      const range = { after, through: END_OF_LOG, limit };
      return read(
        async query => (await newest.query(query))[0],
        range,
        statementFor(range, { sessionIds: null, agentIds: null, types: null }),
      );
    },
    readingFor(subscription) {
      const query = (config: QueryConfig) =>
        limit(() => {
          if (!subscription.isOpen()) throw new Error('The stream has ended.');
          return queryShared(config);
        });
      return {
        read: (range, filter) => read(query, range, statementFor(range, filter)),
        readLinks: range => read(query, range, { name: 'read_links', text: READ_LINKS }),
        async withDescendants(sessionIds, asOf) {
          const result = await query({ name: 'tree', text: TREE, values: [sessionIds, String(asOf)] });
          const nodes: readonly (TreeNode & { readonly expiredSeq: string })[] = result?.rows ?? [];
          if (nodes.some(node => BigInt(node.expiredSeq) > asOf)) throw new EventLogExpiredError();
          return nodes.map(({ id, parentId }) => ({ id, parentId }));
        },
      };
    },
    async expiredSeq() {
      const [result] = await newest.query('select expired_seq as seq from aria_engine.event_log_state');
      return BigInt(result?.rows[0]?.seq ?? 0);
    },
    async close() {
      await Promise.all([newest, ...shared].map(connection => connection.close()));
    },
  };
}
