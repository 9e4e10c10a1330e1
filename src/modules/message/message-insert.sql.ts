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

/** The messages that one call appends to a session, all or none. */
export interface MessageAppend {
  /** UUID. */
  readonly sessionId: string;
  readonly messages: readonly NewMessage[];
}

/**
 * One row per inserted message, oldest first; a single row without a message for an append that inserted none.
 * `status` is the session's before the append; null if the statement did not find the session or skipped it. `append` counts from 1.
 */
export type InsertedRow = { readonly append: number; readonly status: SessionStatus | null; readonly trashed: boolean | null } & (
  | MessageRow
  | { readonly id: null }
);

const FIELDS = fieldsWith(MESSAGE_COLUMNS, 'appended');
const { names, arrays } = arrayInsert(MESSAGE_COLUMNS, FIELDS);

/** The position of the message `input` of the append `accepted`. */
const POSITION = Prisma.sql`accepted.next_position + accepted.earlier + input.place - 1`;

/** The values of a message, from the tables `input` (one row per message) and `accepted` (one row per append) of the statement. */
const VALUES = Prisma.join(
  FIELDS.map(field => {
    const name = Prisma.raw(columnName(field));
    if (field === 'createdAt') return Prisma.sql`coalesce(input.created_at, accepted.at) as created_at`;
    if (field !== 'parentPosition') return Prisma.sql`input.${name}`;
    return Prisma.sql`coalesce(input.parent_position,
      case when accepted.earlier + input.place = 1 then accepted.leaf_position else ${POSITION} - 1 end) as parent_position`;
  }),
);

const statusList = (statuses: readonly SessionStatus[]) => Prisma.raw(statuses.map(status => `'${status}'`).join());
const OPEN = statusList(OPEN_STATUSES);
const REVIVED = statusList(REVIVED_STATUSES);
const REACHES_LIMIT = hasReachedTokenLimit(Prisma.sql`total_tokens`, Prisma.sql`token_limit`);

const AMOUNTS = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens', 'costNanoUsd'] as const;
const AMOUNT_NAMES = Prisma.raw(AMOUNTS.map(columnName).join(', '));

/** The session's usage after each append, from the tables `open_session` and `call`. */
const RUNNING_AMOUNTS = Prisma.raw(
  AMOUNTS.map(columnName)
    .map(name => `least(open_session.${name} + sum(call.${name}) over so_far, ${MAX_AMOUNT})::bigint as ${name}`)
    .join(', '),
);

const OLD_AMOUNTS = Prisma.raw(AMOUNTS.map(amount => `a.${columnName(amount)}`).join(', '));

const NEW_AMOUNTS = Prisma.raw(
  AMOUNTS.map(columnName)
    .map(name => `${name} = outcome.${name}`)
    .join(', '),
);

/** The payload of a STATUS_CHANGED event, from the table `accepted`. */
const STATUS_PAYLOAD = Prisma.sql`jsonb_build_object(
  'from', case when number = first or not revives then status else 'WORKING' end,
  'to', case when number = failing then 'FAILED' else 'WORKING' end,
  'reason', case when number = failing then ${TOKEN_LIMIT_REASON} end,
  'usage', jsonb_build_object(${Prisma.raw(AMOUNTS.map(amount => `'${amount}', ${columnName(amount)}`).join(', '))}),
  'idleMs', case when number = first then greatest(0, floor(extract(epoch from at - last_activity_at) * 1000))::bigint else 0 end)`;

/**
 * The only statement that appends: it locks the sessions, inserts the messages, updates the counters and writes the events. Its effect is
 * that of the appends one after another.
 *
 * It reads a session's status under the row lock: without the lock it could read an old status and write into a session that has ended.
 * It locks the activity row separately, after the session's row. A row that is only joined would be read as of the statement's snapshot,
 * which Postgres takes before it waits for the lock. Sessions are locked in the order of their ids, against deadlocks.
 * @param whenLocked what to do about a session that another transaction has locked
 * @returns InsertedRow, in the order of the appends
 */
export function insertMessages(viewer: Viewer, appends: readonly MessageAppend[], whenLocked: 'wait' | 'skip'): Sql {
  const usages = appends.map(({ messages }) => messages.map(({ usage }) => (usage === null ? null : usageAmounts(usage))));
  const rows = appends.flatMap(({ messages }, call) => messages.map((message, place) => ({ ...message, ...usages[call]?.[place] })));
  const calls = appends.flatMap(({ messages }, call) => messages.map(() => call + 1));
  const places = appends.flatMap(({ messages }) => messages.map((_message, place) => place + 1));
  const sums = AMOUNTS.map(amount => Prisma.sql`${usages.map(each => sumOf(each, amount))}::bigint[]`);
  return Prisma.sql`${Prisma.raw(PREPARED)}
    with call as materialized (
      select * from unnest(${appends.map(({ sessionId }) => sessionId)}::uuid[], ${appends.map(({ messages }) => titleOf(messages))}::text[],
        ${appends.map(({ messages }) => messages.length)}::int[], ${Prisma.join(sums)})
        with ordinality call(session_id, title, size, ${AMOUNT_NAMES}, number)
    ), session as materialized (
      select s.id, s.agent_id, s.status, s.version, s.token_limit, s.deleted_at is not null as trashed, s.compacted_through,
        coalesce(s.given_title, s.display_name, s.subject) is not null as is_named, s.derived_title
      from aria_engine.chat_sessions s
      where s.id = any((select ${[...new Set(appends.map(({ sessionId }) => sessionId))]}::uuid[])::uuid[]) and ${visibleAgents(viewer, Prisma.sql`s.agent_id`)}
      order by s.id for no key update${Prisma.raw(whenLocked === 'skip' ? ' skip locked' : '')}
    ), open_session as materialized (
      select session.agent_id, session.status, session.token_limit, session.is_named, session.derived_title, a.session_id, a.next_position, a.leaf_position, a.last_activity_at,
        ${OLD_AMOUNTS}
      from session join aria_engine.chat_session_activity a on a.session_id = session.id
      where not session.trashed and session.status in (${OPEN})
      for no key update of a
    ), running as (
      select call.number, call.title, call.size, call.total_tokens > 0 as adds_tokens, sum(call.size) over so_far - call.size as earlier,
        open_session.session_id, open_session.agent_id, open_session.status, open_session.token_limit, open_session.is_named,
        open_session.derived_title, open_session.next_position, open_session.leaf_position, open_session.last_activity_at,
        ${RUNNING_AMOUNTS}
      from call join open_session on open_session.session_id = call.session_id
      window so_far as (partition by call.session_id order by call.number)
    ), judged as materialized (
      select running.*, clock_timestamp() as at, min(number) over of_session as first,
        min(number) filter (where adds_tokens and ${REACHES_LIMIT}) over of_session as failing
      from running window of_session as (partition by session_id)
    ), accepted as materialized (
      select judged.*, status in (${REVIVED}) and failing is distinct from first as revives from judged where number <= coalesce(failing, number)
    ), placed as materialized (
      select accepted.session_id, accepted.agent_id as session_agent_id, accepted.number, accepted.earlier + input.place as place, ${POSITION} as position, ${VALUES}
      from unnest(${arrays(rows)}, ${calls}::int[], ${places}::int[]) input(${names}, call, place)
      join accepted on accepted.number = input.call
    ), inserted as (
      insert into aria_engine.chat_messages (session_id, position, ${names})
      select session_id, position, ${names} from placed order by session_id, position
    ), outcome as materialized (
      select distinct on (accepted.session_id) accepted.*, earlier + size as added, last.created_at as last_created_at,
        case when derived_title is null then first_value(title) over (partition by accepted.session_id order by title is null, number) end as new_title
      from accepted join (select session_id, place, created_at from placed) last
        on last.session_id = accepted.session_id and last.place = accepted.earlier + accepted.size
      order by accepted.session_id, number desc
    ), moved as (
      update aria_engine.chat_session_activity a set updated_at = outcome.at, last_activity_at = greatest(outcome.last_activity_at, outcome.at),
        last_message_at = outcome.last_created_at,
        message_count = a.message_count + outcome.added, next_position = outcome.next_position + outcome.added,
        leaf_position = outcome.next_position + outcome.added - 1, ${NEW_AMOUNTS}
      from outcome where a.session_id = outcome.session_id
    ), changed as (
      update aria_engine.chat_sessions s set
        status = case when outcome.failing is not null then 'FAILED' when outcome.revives then 'WORKING' else outcome.status end::aria_engine.session_status,
        version = s.version + outcome.revives::int + (outcome.failing is not null)::int,
        status_reason = case when outcome.failing is not null then ${TOKEN_LIMIT_REASON} when outcome.revives then null else s.status_reason end,
        ended_at = case when outcome.failing is not null then outcome.at else s.ended_at end,
        derived_title = coalesce(outcome.new_title, s.derived_title),
        title = case when outcome.is_named then s.title else coalesce(outcome.new_title, s.title) end
      from outcome
      where s.id = outcome.session_id and (outcome.revives or outcome.failing is not null or outcome.new_title is not null)
    ), event as (
      insert into aria_engine.session_events (session_id, agent_id, type, payload)
      select session_id, session_agent_id, type::aria_engine.session_event_type, payload from (
        select session_id, session_agent_id, 'MESSAGE_ADDED' as type, place, 1 as step,
          jsonb_build_object('messageId', id, 'position', position) as payload
        from placed
        union all
        select session_id, agent_id, 'STATUS_CHANGED', earlier + size, 2, ${STATUS_PAYLOAD}
        from accepted where number = failing or (number = first and revives)
      ) written
      order by session_id, place, step
    )
    select call.number::int as append, case when judged.failing < call.number then 'FAILED' else session.status end as status, session.trashed,
      call.session_id as "sessionId", placed.id, placed.position::float8 as position, placed.role,
      placed.parent_position::float8 as "parentPosition", placed.position > session.compacted_through as active,
      placed.created_at::text as "createdAt"
    from call left join session on session.id = call.session_id
    left join judged on judged.number = call.number
    left join placed on placed.number = call.number
    order by call.number, placed.position`;
}

function sumOf(usages: readonly (UsageAmounts | null)[], amount: keyof UsageAmounts): string {
  return String(usages.reduce((sum, usage) => sum + (usage?.[amount] ?? 0n), 0n));
}

/** The title that these messages give a session without a derived title: that of the first user message with text. */
function titleOf(messages: readonly CheckedMessage[]): string | null {
  for (const message of messages) {
    const title = message.role === 'USER' ? deriveTitle(message.content) : null;
    if (title !== null) return title;
  }
  return null;
}
