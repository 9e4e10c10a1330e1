import { Prisma } from '../../generated/prisma/client.ts';
import { arrayInsert } from '../../postgres/columns/column-sql.ts';
import { columnName, fieldsWith } from '../../postgres/columns/columns.ts';
import { PREPARED, type Sql } from '../../postgres/database.ts';
import { deriveTitle, OPEN_STATUSES, REVIVED_STATUSES, type SessionStatus, TOKEN_LIMIT_REASON } from '../session/session.rules.ts';
import { MAX_AMOUNT, type UsageAmounts, usageAmounts } from '../usage/usage.rules.ts';
import { hasReachedTokenLimit } from '../usage/usage.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { MESSAGE_COLUMNS } from './message.columns.ts';
import type { CheckedMessage } from './message.input.ts';
import type { MessageRow } from './message.loader.ts';

/** A message to append. */
export interface NewMessage extends CheckedMessage {
  /** UUID. */
  readonly id: string;
  /** Position of the parent that the caller named; null if the caller named none. */
  readonly parentPosition: number | null;
}

/** One row per inserted message, oldest first; a single row without a message if the session takes none. */
export type InsertedRow = { readonly status: SessionStatus; readonly trashed: boolean } & (MessageRow | { readonly id: null });

const FIELDS = fieldsWith(MESSAGE_COLUMNS, 'appended');
const { names, arrays } = arrayInsert(MESSAGE_COLUMNS, FIELDS);

/** The values of an inserted row, from the tables `input` (one row per message), `act` and `verdict` of the statement. */
const VALUES = Prisma.join(
  FIELDS.map(field => {
    const given = Prisma.raw(`input.${columnName(field)}`);
    if (field === 'createdAt') return Prisma.sql`coalesce(${given}, verdict.at)`;
    if (field !== 'parentPosition') return given;
    return Prisma.sql`coalesce(${given}, case when input.place = 1 then act.leaf_position else act.next_position + input.place - 2 end)`;
  }),
);

const statusList = (statuses: readonly SessionStatus[]) => Prisma.raw(statuses.map(status => `'${status}'`).join());
const OPEN = statusList(OPEN_STATUSES);
const REVIVED = statusList(REVIVED_STATUSES);
const REACHES_LIMIT = hasReachedTokenLimit(
  Prisma.sql`least(act.total_tokens + added.total_tokens, added.most)`,
  Prisma.sql`session.token_limit`,
);

/**
 * The only statement of an append: it locks the session, inserts the messages, updates the counters and writes the events.
 *
 * It reads the session's status under the row lock: without the lock it could read an old status and write into a session that has ended.
 * It locks the activity row separately, after the session's row. A row that is only joined would be read as of the statement's snapshot,
 * which Postgres takes before it waits for the lock.
 * @returns InsertedRow; no row if the session does not exist or the viewer may not see it
 */
export function insertMessages(viewer: Viewer, sessionId: string, messages: readonly NewMessage[]): Sql {
  const usages = messages.map(message => (message.usage === null ? null : usageAmounts(message.usage)));
  const total = (amount: keyof UsageAmounts) => Prisma.sql`${usages.reduce((sum, usage) => sum + (usage?.[amount] ?? 0n), 0n)}::bigint`;
  const rows = messages.map((message, index) => ({ ...message, ...usages[index] }));
  return Prisma.sql`${Prisma.raw(PREPARED)}
    with session as materialized (
      select s.id, s.agent_id, s.status, s.version, s.token_limit, s.deleted_at is not null as trashed, s.compacted_through,
        coalesce(s.given_title, s.display_name, s.subject) is not null as is_named, s.derived_title
      from aria_engine.chat_sessions s
      where s.id = ${sessionId}::uuid and ${visibleAgents(viewer, Prisma.sql`s.agent_id`)} for no key update
    ), act as materialized (
      select a.* from aria_engine.chat_session_activity a
      where a.session_id = (select id from session where not trashed and status in (${OPEN}))
      for no key update
    ), added(input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, total_tokens, cost_nano_usd, most) as (
      select ${total('inputTokens')}, ${total('outputTokens')}, ${total('cacheReadTokens')}, ${total('cacheWriteTokens')},
        ${total('totalTokens')}, ${total('costNanoUsd')}, ${MAX_AMOUNT}::bigint
    ), verdict as materialized (
      select session.*, clock_timestamp() as at,
        greatest(0, floor(extract(epoch from clock_timestamp() - act.last_activity_at) * 1000))::bigint as idle_ms,
        least(act.input_tokens + added.input_tokens, added.most) as input_tokens,
        least(act.output_tokens + added.output_tokens, added.most) as output_tokens,
        least(act.cache_read_tokens + added.cache_read_tokens, added.most) as cache_read_tokens,
        least(act.cache_write_tokens + added.cache_write_tokens, added.most) as cache_write_tokens,
        least(act.total_tokens + added.total_tokens, added.most) as total_tokens,
        least(act.cost_nano_usd + added.cost_nano_usd, added.most) as cost_nano_usd,
        case when added.total_tokens > 0 and ${REACHES_LIMIT} then 'FAILED'
          when session.status in (${REVIVED}) then 'WORKING' else session.status end::aria_engine.session_status as next_status,
        case when session.derived_title is null then ${titleOf(messages)} end as new_title
      from session, act, added
    ), inserted as (
      insert into aria_engine.chat_messages (session_id, position, ${names})
      select act.session_id, act.next_position + input.place - 1, ${VALUES}
      from act, verdict, unnest(${arrays(rows)}) with ordinality input(${names}, place)
      order by input.place
      returning id, position, role, parent_position, created_at
    ), moved as (
      update aria_engine.chat_session_activity a set updated_at = verdict.at, last_activity_at = greatest(act.last_activity_at, verdict.at),
        last_message_at = greatest(act.last_message_at, (select max(created_at) from inserted)),
        message_count = act.message_count + ${messages.length}::int, next_position = act.next_position + ${messages.length}::int,
        leaf_position = act.next_position + ${messages.length}::int - 1,
        input_tokens = verdict.input_tokens, output_tokens = verdict.output_tokens, cache_read_tokens = verdict.cache_read_tokens,
        cache_write_tokens = verdict.cache_write_tokens, total_tokens = verdict.total_tokens, cost_nano_usd = verdict.cost_nano_usd
      from act, verdict where a.session_id = act.session_id
    ), changed as (
      update aria_engine.chat_sessions s set status = verdict.next_status,
        version = s.version + (verdict.next_status <> verdict.status)::int,
        status_reason = case when verdict.next_status = verdict.status then s.status_reason
          when verdict.next_status = 'FAILED' then ${TOKEN_LIMIT_REASON} end,
        ended_at = case when verdict.next_status = 'FAILED' then verdict.at else s.ended_at end,
        derived_title = coalesce(verdict.new_title, s.derived_title),
        title = case when verdict.is_named then s.title else coalesce(verdict.new_title, s.title) end
      from verdict where s.id = verdict.id and (verdict.next_status <> verdict.status or verdict.new_title is not null)
    ), event as (
      insert into aria_engine.session_events (session_id, agent_id, type, payload)
      select written.session_id, written.agent_id, written.type, written.payload from (
        select verdict.id as session_id, verdict.agent_id, 'MESSAGE_ADDED'::aria_engine.session_event_type as type,
          jsonb_build_object('messageId', inserted.id, 'position', inserted.position) as payload, inserted.position as place
        from inserted, verdict
        union all
        select verdict.id, verdict.agent_id, 'STATUS_CHANGED', jsonb_build_object('from', verdict.status, 'to', verdict.next_status,
          'reason', case when verdict.next_status = 'FAILED' then ${TOKEN_LIMIT_REASON} end,
          'usage', jsonb_build_object('inputTokens', verdict.input_tokens, 'outputTokens', verdict.output_tokens,
            'cacheReadTokens', verdict.cache_read_tokens, 'cacheWriteTokens', verdict.cache_write_tokens,
            'totalTokens', verdict.total_tokens, 'costNanoUsd', verdict.cost_nano_usd),
          'idleMs', verdict.idle_ms), ${Number.MAX_SAFE_INTEGER}::bigint
        from verdict where verdict.next_status <> verdict.status
      ) written order by written.place
    )
    select session.status, session.trashed, session.id as "sessionId", inserted.id, inserted.position::float8 as position, inserted.role,
      inserted.parent_position::float8 as "parentPosition", inserted.position > session.compacted_through as active,
      inserted.created_at::text as "createdAt"
    from session left join inserted on true order by inserted.position`;
}

/** The title that these messages give a session without a derived title: that of the first user message with text. */
function titleOf(messages: readonly CheckedMessage[]): string | null {
  for (const message of messages) {
    const title = message.role === 'USER' ? deriveTitle(message.content) : null;
    if (title !== null) return title;
  }
  return null;
}
