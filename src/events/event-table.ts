import pLimit from 'p-limit';
import type { QueryConfig, QueryResult } from 'pg';
import { DomainError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { ReconnectingConnection } from '../postgres/reconnecting-connection.ts';
import type { TreeNode } from './followed-tree.ts';
import { type EventRow, type StoredEvent, toStoredEvent } from './stored-event.ts';

/** Every list is one of alternatives; null lets all pass. The three are joined by AND. */
export interface EventTableFilter {
  readonly sessionIds: readonly string[] | null;
  readonly agentIds: readonly string[] | null;
  readonly types: readonly string[] | null;
}

/** Events with `after < seq <= through`, in order, at most `limit`. */
export interface EventRange {
  readonly after: bigint;
  readonly through: bigint;
  readonly limit: number;
}

/** Part of the log. */
export interface EventBatch {
  readonly events: readonly StoredEvent[];
  /** All that matched up to here is in `events`. */
  readonly reached: bigint;
}

/** CURSOR_EXPIRED: the log no longer reaches back to where a reader wants to continue, events between have been dropped. */
export class EventLogExpiredError extends DomainError {
  constructor() {
    super('CURSOR_EXPIRED', 'The event log no longer reaches back to this cursor; read anew what you show, and subscribe without it.');
  }
}

/** Reads sequenced events, and what of the sessions decides who gets them. All methods throw the errors of pg. */
export interface EventTable {
  /**
   * The newest events, for the one reader of this process, on a connection of its own.
   * @throws EventLogExpiredError
   */
  readNew(after: bigint, limit: number): Promise<EventBatch>;
  /** For one subscription, on a small pool that all of them share. */
  readingFor(reader: StreamReader): StreamReading;
  /** Up to where the log has been dropped. */
  expiredSeq(): Promise<bigint>;
  close(): Promise<void>;
}

/** Who reads. */
interface StreamReader {
  /** Asked when its turn has come: where it is not, nothing is read, and the read is rejected. */
  isOpen(): boolean;
}

/** What a subscription that is behind reads, in its turn, however long that takes. All methods throw the errors of pg. */
export interface StreamReading {
  /** @throws EventLogExpiredError */
  read(range: EventRange, filter: EventTableFilter): Promise<EventBatch>;
  /**
   * The events there that made a session somebody's child, or took its parent away.
   * @throws EventLogExpiredError
   */
  readLinks(range: EventRange): Promise<EventBatch>;
  /**
   * These sessions, whether there are such or not and without their parents, and all their descendants, as the tree was at a place of
   * the log: those in the trash, and those removed for good since, included.
   * @throws EventLogExpiredError
   */
  withDescendants(sessionIds: readonly string[], asOf: bigint): Promise<readonly TreeNode[]>;
}

/** A range that is read event by event, whatever the filter. */
export const NARROW_RANGE = 4_096n;

/** In a wider one events of no more sessions than this are found session by session, and what happened to others costs nothing. */
export const MAX_PROBED = 256;

const SHARED_CONNECTIONS = 2;

const END_OF_LOG = 2n ** 63n - 1n;

// Always by index on seq, partition by partition, whatever the statistics say; no JIT over costs that mean nothing then.
const SETTINGS = { jit: 'off', plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', enable_bitmapscan: 'off', enable_sort: 'off' };

const COLUMNS = `seq, id, (extract(epoch from occurred_at) * 1000)::bigint as "occurredAtMs", session_id as "sessionId", agent_id as "agentId",
    type, payload`;

// Expiry is read by the same statement: it is recorded before a partition goes, so that no gap is taken for the end of the log.
const withExpiry = (events: string) => `
select state.expired_seq as "expiredSeq", e.*
from aria_engine.event_log_state state left join lateral (${events}) e on true`;

const WANTED = `seq > $1 and seq <= $2 and ($5::text[] is null or agent_id = any ($5)) and ($6::text[] is null or type::text = any ($6))`;

const READ = withExpiry(`
  select ${COLUMNS} from aria_engine.session_events where ${WANTED} and ($4::uuid[] is null or session_id = any ($4))
  order by seq limit $3`);

const READ_PROBING = withExpiry(`
  select found.* from unnest($4::uuid[]) wanted(id) cross join lateral (
    select ${COLUMNS} from aria_engine.session_events where session_id = wanted.id and ${WANTED} order by seq limit $3
  ) found order by seq limit $3`);

const READ_LINKS = withExpiry(`
  select ${COLUMNS} from aria_engine.session_events where seq > $1 and seq <= $2 and payload ?| '{parentId,formerParentId}'
  order by seq limit $3`);

// The tree as it is, but for those whose parent has changed since: the first of the changes tells what it was before. What is not
// sequenced yet counts as later.
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

function readingOf({ after, through }: EventRange, { sessionIds, agentIds, types }: EventTableFilter) {
  const values = [sessionIds, agentIds, types];
  const probes = through - after > NARROW_RANGE && sessionIds !== null && sessionIds.length <= MAX_PROBED;
  return probes ? { name: 'read_probing', text: READ_PROBING, values } : { name: 'read_events', text: READ, values };
}

type Row = { readonly expiredSeq: string } & (EventRow | { readonly seq: null });

/** Opens the table for reading; connections are made when first needed. */
export function createEventTable({ url, log }: { readonly url: string; readonly log: Logger }): EventTable {
  const newest = new ReconnectingConnection({ url, log, settings: SETTINGS, name: 'sessiongraph event reader' });
  const shared = Array.from(
    { length: SHARED_CONNECTIONS },
    () => new ReconnectingConnection({ url, log, settings: SETTINGS, name: 'sessiongraph event catch-up' }),
  );
  // A stream waits for its turn as long as it takes: a pool's queue would time out, and the stream would ask again.
  const limit = pLimit(SHARED_CONNECTIONS);
  const idle = [...shared];
  async function queryShared(query: QueryConfig): Promise<QueryResult | undefined> {
    const connection = idle.pop();
    if (connection === undefined) throw new Error('More statements run at once than there are connections.');
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
    if (first === undefined) throw new Error('aria_engine.event_log_state has lost its row.');
    if (BigInt(first.expiredSeq) > after) throw new EventLogExpiredError();
    const events: StoredEvent[] = [];
    let last = after;
    let number = 0;
    for (const row of rows) {
      if (row.seq === null) continue;
      number += 1;
      last = BigInt(row.seq);
      const event = toStoredEvent(row);
      if (event === null) log.debug({ seq: row.seq, type: row.type }, 'skipped an event that is not known here');
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
        readingOf(range, { sessionIds: null, agentIds: null, types: null }),
      );
    },
    readingFor(reader) {
      const inTurn = (query: QueryConfig) =>
        limit(() => {
          if (!reader.isOpen()) throw new Error('the stream has ended');
          return queryShared(query);
        });
      return {
        read: (range, filter) => read(inTurn, range, readingOf(range, filter)),
        readLinks: range => read(inTurn, range, { name: 'read_links', text: READ_LINKS }),
        async withDescendants(sessionIds, asOf) {
          const result = await inTurn({ name: 'tree', text: TREE, values: [sessionIds, String(asOf)] });
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
