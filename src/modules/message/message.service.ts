import { v7 as uuidv7 } from 'uuid';
import { DomainError, sessionNotFound } from '../../errors.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseMessageId, parseSessionId } from '../../global-id.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import type { KeyedInput } from '../idempotency/idempotency.input.ts';
import { executeOnce } from '../idempotency/idempotency.service.ts';
import {
  deriveTitle,
  isTerminal,
  OPEN_STATUSES,
  REVIVED_STATUSES,
  type SessionStatus,
  TOKEN_LIMIT_REASON,
} from '../session/session.rules.ts';
import { lockSession } from '../session/session-lock.service.ts';
import { MAX_AMOUNT, type UsageAmounts, usageAmounts } from '../usage/usage.rules.ts';
import { hasReachedTokenLimit } from '../usage/usage.sql.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { type CheckedMessage, type MessageInput, readMessage, readMessages } from './message.input.ts';
import { type MessageRow, messageColumns } from './message.loader.ts';
import { moveBranch } from './message-branch.sql.ts';

/** The column groups, beyond the core, of the messages an append gives. */
export const WRITTEN_COLUMNS: readonly string[] = ['tree'];

/** What an append wrote, oldest first. */
export interface Appended {
  readonly sessionId: string;
  readonly messages: readonly MessageRow[];
}

export interface AppendMessagesInput extends KeyedInput {
  readonly sessionId: string;
  readonly messages: readonly MessageInput[];
}

export interface AppendMessageInput extends KeyedInput {
  readonly sessionId: string;
  readonly message: MessageInput;
}

/**
 * Appends one message behind the current leaf, or behind the message it names.
 * @throws DomainError SESSION_NOT_FOUND, SESSION_ENDED, MESSAGE_NOT_FOUND for the parent, BAD_USER_INPUT, MESSAGE_TOO_LARGE; as `executeOnce`
 */
export function appendMessage(caller: Caller, input: AppendMessageInput): Promise<Appended> {
  return executeOnce(
    caller,
    {
      field: 'appendMessage',
      run: async (caller, { sessionId, message }) => append(caller, sessionId, [readMessage(message, 'input.message')]),
      ...STORED_IDS,
    },
    input,
  );
}

/**
 * Appends 1 to 100 messages in their order, all or none; each follows the one before unless it names a parent.
 * @throws DomainError as `appendMessage`
 */
export function appendMessages(caller: Caller, input: AppendMessagesInput): Promise<Appended> {
  return executeOnce(
    caller,
    {
      field: 'appendMessages',
      run: async (caller, { sessionId, messages }) => append(caller, sessionId, readMessages(messages, 'input.messages')),
      ...STORED_IDS,
    },
    input,
  );
}

interface AppendedIds {
  readonly sessionId: string;
  readonly messageIds: readonly string[];
}

const STORED_IDS = {
  toStored: ({ sessionId, messages }: Appended): AppendedIds => ({ sessionId, messageIds: messages.map(({ id }) => id) }),
  replay: findAppended,
};

/** @throws DomainError SESSION_NOT_FOUND, MESSAGE_NOT_FOUND where one of them has been deleted since */
async function findAppended(caller: Caller, { sessionId, messageIds }: AppendedIds): Promise<Appended> {
  const rows = await caller.database.rows<MessageRow | { readonly id: null }>(Prisma.sql`${Prisma.raw(PREPARED)}
    select ${messageColumns(WRITTEN_COLUMNS)} from aria_engine.chat_sessions s
      left join aria_engine.chat_messages m on m.session_id = s.id and m.id = any(${[...messageIds]}::uuid[])
    where s.id = ${sessionId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)} order by m.position`);
  if (rows.length === 0) throw sessionNotFound(sessionId);
  const messages = rows.flatMap(row => (row.id === null ? [] : [row]));
  const found = new Set(messages.map(({ id }) => id));
  const missing = messageIds.find(id => !found.has(id));
  if (missing !== undefined) throw messageNotFound(missing);
  return { sessionId, messages };
}

/** The session to append to. */
interface Target {
  /** UUID. */
  readonly sessionId: string;
  /** As the caller wrote it. */
  readonly id: string;
}

async function append(caller: Caller, id: string, messages: readonly CheckedMessage[]): Promise<Appended> {
  const sessionId = parseSessionId(id);
  if (sessionId === null) throw sessionNotFound(id);
  const target: Target = { sessionId, id };
  const ids = messages.map(() => uuidv7());
  const branches = messages.some(message => message.parentId !== null);
  const rows = branches
    ? await caller.database.transaction(transaction => appendToBranch(caller, transaction, target, messages, ids))
    : await insertMessages(caller, caller.database, target, messages, ids, null);
  caller.eventsWritten();
  return { sessionId, messages: rows };
}

/** Appends where a message names its parent: the active branch may change with it. */
async function appendToBranch(
  caller: Caller,
  transaction: Executor,
  target: Target,
  messages: readonly CheckedMessage[],
  ids: readonly string[],
): Promise<MessageRow[]> {
  const { sessionId } = target;
  await lockSession(transaction, caller.viewer, target.id, { trashed: false });
  const parents = await findParents(transaction, sessionId, messages);
  const rows = await insertMessages(caller, transaction, target, messages, ids, parents);
  const [first] = rows;
  const leaf = rows.at(-1);
  if (first !== undefined && leaf !== undefined) await transaction.rows(moveBranch(sessionId, leaf.position, first.position));
  const path = await transaction.rows<{ id: string }>(Prisma.sql`select id from aria_engine.chat_messages
    where session_id = ${sessionId}::uuid and id = any(${[...ids]}::uuid[]) and on_branch`);
  const active = new Set(path.map(row => row.id));
  return rows.map(row => ({ ...row, active: active.has(row.id) }));
}

async function findParents(transaction: Executor, sessionId: string, messages: readonly CheckedMessage[]): Promise<(number | null)[]> {
  const named = messages.map(message => {
    if (message.parentId === null) return null;
    const parsed = parseMessageId(message.parentId);
    if (parsed === null || (parsed.sessionId !== null && parsed.sessionId !== sessionId)) throw messageNotFound(message.parentId);
    return parsed.messageId;
  });
  const wanted = [...new Set(named.filter(id => id !== null))];
  const found = await transaction.rows<{ id: string; position: number }>(Prisma.sql`select id, position::float8 as position
    from aria_engine.chat_messages where session_id = ${sessionId}::uuid and id = any(${wanted}::uuid[])`);
  const positions = new Map(found.map(row => [row.id, row.position]));
  return named.map((id, index) => {
    if (id === null) return null;
    const position = positions.get(id);
    if (position === undefined) throw messageNotFound(messages[index]?.parentId ?? id);
    return position;
  });
}

const statusList = (statuses: readonly SessionStatus[]) => Prisma.raw(statuses.map(status => `'${status}'`).join());
const OPEN = statusList(OPEN_STATUSES);
const REVIVED = statusList(REVIVED_STATUSES);
const REACHES_LIMIT = hasReachedTokenLimit(
  Prisma.sql`least(act.total_tokens + added.total_tokens, added.most)`,
  Prisma.sql`session.token_limit`,
);

interface InsertedRow {
  /** Null where the session is in the trash or has ended: nothing was written. */
  readonly position: number | null;
  readonly parentPosition: number | null;
  readonly createdAt: string | null;
  readonly status: SessionStatus;
  readonly trashed: boolean;
  readonly compactedThrough: number;
}

/**
 * The one statement of an append: it locks the session and reads its status there (an unlocked join would see a stale one and
 * write into a session that has ended), then its activity; inserts; moves the counters; and writes the events.
 *
 * The activity is locked in its own right, with the session's lock as its condition: only so is what is read of it the newest
 * version, and not that of the statement's snapshot, which was taken before the wait for the lock.
 * @param parents positions of the parents that were named, null where none is; null altogether where no message names one
 */
async function insertMessages(
  caller: Caller,
  executor: Executor,
  { sessionId, id }: Target,
  messages: readonly CheckedMessage[],
  ids: readonly string[],
  parents: readonly (number | null)[] | null,
): Promise<MessageRow[]> {
  const usages = messages.map(message => (message.usage === null ? null : usageAmounts(message.usage)));
  const total = (amount: keyof UsageAmounts) => usages.reduce((sum, usage) => sum + (usage?.[amount] ?? 0n), 0n);
  const amounts = (amount: keyof UsageAmounts) => Prisma.sql`${usages.map(usage => usage?.[amount].toString() ?? null)}::bigint[]`;
  const texts = (of: (message: CheckedMessage) => string | null) => Prisma.sql`${messages.map(of)}::text[]`;
  const follows = Prisma.sql`case when input.place = 1 then act.leaf_position else act.next_position + input.place - 2 end`;
  const parent = parents === null ? follows : Prisma.sql`coalesce(input.parent_position, ${follows})`;
  const named = parents === null ? Prisma.empty : Prisma.sql`, ${[...parents]}::bigint[]`;
  const namedColumn = parents === null ? Prisma.empty : Prisma.sql`, parent_position`;
  const statement: Sql = Prisma.sql`${Prisma.raw(PREPARED)}
    with session as materialized (
      select s.id, s.agent_id, s.status, s.version, s.token_limit, s.deleted_at is not null as trashed, s.compacted_through,
        coalesce(s.given_title, s.display_name, s.subject) is not null as is_named, s.derived_title
      from aria_engine.chat_sessions s
      where s.id = ${sessionId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)} for no key update
    ), act as materialized (
      select a.* from aria_engine.chat_session_activity a
      where a.session_id = (select id from session where not trashed and status in (${OPEN}))
      for no key update
    ), added(input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, total_tokens, cost_nano_usd, most) as (
      select ${total('inputTokens')}::bigint, ${total('outputTokens')}::bigint, ${total('cacheReadTokens')}::bigint,
        ${total('cacheWriteTokens')}::bigint, ${total('totalTokens')}::bigint, ${total('costNanoUsd')}::bigint, ${MAX_AMOUNT}::bigint
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
      insert into aria_engine.chat_messages (session_id, position, id, role, content, parts, agent_id, model, provider, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, total_tokens, cost_nano_usd, latency_ms, stop_reason, metadata, parent_position, created_at)
      select act.session_id, act.next_position + input.place - 1, input.id, input.role, input.content, input.parts::jsonb, input.agent_id, input.model,
        input.provider, input.input_tokens, input.output_tokens, input.cache_read_tokens, input.cache_write_tokens, input.total_tokens,
        input.cost_nano_usd, input.latency_ms, input.stop_reason, input.metadata::jsonb, ${parent}, coalesce(input.created_at, verdict.at)
      from act, verdict, unnest(${[...ids]}::uuid[], ${messages.map(message => message.role)}::aria_engine.message_role[],
        ${texts(message => message.content)}, ${texts(message => (message.parts === null ? null : JSON.stringify(message.parts)))},
        ${texts(message => message.agentId)}, ${texts(message => message.model)}, ${texts(message => message.provider)},
        ${amounts('inputTokens')}, ${amounts('outputTokens')}, ${amounts('cacheReadTokens')}, ${amounts('cacheWriteTokens')},
        ${amounts('totalTokens')}, ${amounts('costNanoUsd')}, ${messages.map(message => message.latencyMs)}::int[],
        ${texts(message => message.stopReason)}, ${texts(message => JSON.stringify(message.metadata))},
        ${messages.map(message => message.createdAt?.toISOString() ?? null)}::timestamptz[]${named}
      ) with ordinality input(id, role, content, parts, agent_id, model, provider, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
        total_tokens, cost_nano_usd, latency_ms, stop_reason, metadata, created_at${namedColumn}, place)
      order by input.place
      returning id, position, parent_position, created_at
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
      select told.session_id, told.agent_id, told.type, told.payload from (
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
      ) told order by told.place
    )
    select session.status, session.trashed, session.compacted_through::float8 as "compactedThrough", inserted.position::float8 as position,
      inserted.parent_position::float8 as "parentPosition", inserted.created_at::text as "createdAt"
    from session left join inserted on true order by inserted.position`;
  const rows = await executor.rows<InsertedRow>(statement);
  const [first] = rows;
  if (first === undefined) throw sessionNotFound(id);
  if (first.trashed) throw sessionNotFound(id, true);
  if (isTerminal(first.status)) {
    throw new DomainError('SESSION_ENDED', `The session is ${first.status} and takes no more messages.`, { status: first.status });
  }
  return rows.map((row, index) => ({
    id: ids[index] ?? '',
    sessionId,
    position: row.position ?? 0,
    role: messages[index]?.role ?? 'OTHER',
    parentPosition: row.parentPosition,
    active: (row.position ?? 0) > row.compactedThrough,
    createdAt: row.createdAt ?? '',
  }));
}

/** The title these messages give a session that has none derived: of the first user message with text. */
function titleOf(messages: readonly CheckedMessage[]): string | null {
  for (const message of messages) {
    const title = message.role === 'USER' ? deriveTitle(message.content) : null;
    if (title !== null) return title;
  }
  return null;
}

export interface DeleteMessageInput {
  readonly id: string;
  readonly sessionId: string;
}

/**
 * Deletes a message; those that answer it answer its parent from then on, and its usage stays counted.
 * @throws DomainError SESSION_NOT_FOUND, MESSAGE_NOT_FOUND, also for a message of another session
 */
export async function deleteMessage(
  caller: Caller,
  input: DeleteMessageInput,
): Promise<{ readonly sessionId: string; readonly messageId: string }> {
  const deleted = await caller.database.transaction(async transaction => {
    const session = await lockSession(transaction, caller.viewer, input.sessionId, { trashed: false });
    const parsed = parseMessageId(input.id);
    if (parsed === null || (parsed.sessionId !== null && parsed.sessionId !== session.id)) throw messageNotFound(input.id);
    const [message] = await transaction.rows<{ position: number; parent: number | null }>(Prisma.sql`
      delete from aria_engine.chat_messages where session_id = ${session.id}::uuid and id = ${parsed.messageId}::uuid
      returning position::float8 as position, parent_position::float8 as parent`);
    if (message === undefined) throw messageNotFound(input.id);
    await transaction.rows(Prisma.sql`update aria_engine.chat_messages set parent_position = ${message.parent}::bigint
      where session_id = ${session.id}::uuid and parent_position = ${message.position}::bigint`);
    const [activity] = await transaction.rows<{ leaf: number | null; orphaned: boolean }>(Prisma.sql`
      with last as (
        select max(position) as position, max(created_at) as created_at from aria_engine.chat_messages where session_id = ${session.id}::uuid
      ), event as (
        ${insertEvents(session.id, session.agentId, [
          { type: 'MESSAGE_DELETED', payload: { messageId: parsed.messageId, position: message.position } },
        ])}
      )
      update aria_engine.chat_session_activity a set message_count = a.message_count - 1, updated_at = clock_timestamp(),
        last_message_at = (select created_at from last),
        leaf_position = case when a.leaf_position is distinct from ${message.position}::bigint then a.leaf_position
          else coalesce(${message.parent}::bigint, (select position from last)) end
      where a.session_id = ${session.id}::uuid
      returning leaf_position::float8 as leaf, ${message.parent}::bigint is null as orphaned`);
    // A root was the leaf: the newest message left becomes the leaf, on a branch of its own.
    if (activity?.orphaned === true && activity.leaf !== null) await transaction.rows(moveBranch(session.id, activity.leaf, 0));
    return { sessionId: session.id, messageId: parsed.messageId };
  });
  caller.eventsWritten();
  return deleted;
}

/**
 * MESSAGE_NOT_FOUND, also for a message of another session.
 * @param id as the caller wrote it
 */
export function messageNotFound(id: string): DomainError {
  return new DomainError('MESSAGE_NOT_FOUND', `There is no message ${id} in this session.`, { id });
}
