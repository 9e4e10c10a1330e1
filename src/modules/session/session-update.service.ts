import { badInput, DomainError, sessionNotFound } from '../../errors.ts';
import type { TypedEvent } from '../../events/event-types.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { makeOnce } from '../idempotency/idempotency.service.ts';
import { sessionKind } from '../session-key/session-key.rules.ts';
import { assertMetadataSize, assertStorable, isJsonObject, readMetadata } from '../text/text.input.ts';
import { reachesTokenLimit } from '../usage/usage.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import {
  assertUpdate,
  type EndSessionInput,
  readDescription,
  readReason,
  type SessionColumns,
  type UpdateSessionInput,
} from './session.input.ts';
import { canTransition, effectiveTitle, isTerminal, type SessionStatus, transitionsFrom } from './session.rules.ts';
import { type LockedSession, lockSession, statusChange } from './session-lock.service.ts';
import { takenOr } from './session-names.service.ts';

/** Statuses `updateSession` sets: STALLED is the sweeper's alone, TERMINATED the kill's. */
const SETTABLE: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING', 'COMPLETED', 'FAILED', 'ENDED'];
const ENDINGS: readonly SessionStatus[] = ['COMPLETED', 'FAILED', 'ENDED'];

/** Serialises the setting of parents: two of them, each fine alone, could close a circle. Any number of ours. */
const PARENT_LOCK = Prisma.raw('7305021101');

/** Column to the GraphQL field that shows it, for `changed` of UPDATED. */
const FIELD_OF: Readonly<Record<keyof SessionColumns, string>> = {
  given_title: 'givenTitle',
  label: 'label',
  display_name: 'displayName',
  subject: 'subject',
  category: 'category',
  tags: 'tags',
  channel: 'channel',
  node_id: 'nodeId',
  output_path: 'outputPath',
  priority: 'priority',
  task: 'task',
  prompt: 'prompt',
  token_limit: 'tokenLimit',
  model: 'model',
  model_provider: 'modelProvider',
  origin: 'origin',
  delivery: 'delivery',
};

const COLUMN_TYPE: Readonly<Partial<Record<keyof SessionColumns, string>>> = {
  tags: 'text[]',
  priority: 'aria_engine.session_priority',
  token_limit: 'int',
  origin: 'jsonb',
  delivery: 'jsonb',
};

/** What an update comes to, gathered while it is decided. */
interface Changes {
  readonly assignments: Sql[];
  /** GraphQL fields changed, status, reason and end aside. */
  readonly fields: string[];
  parentId: string | null;
  status: { readonly to: SessionStatus; readonly reason: string | null } | null;
}

/**
 * Changes what the input gives, all or nothing; a call that changes nothing writes nothing.
 * @returns the session's UUID
 * @throws DomainError SESSION_NOT_FOUND, VERSION_CONFLICT, BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT, INVALID_STATUS_TRANSITION,
 * LABEL_TAKEN; as `makeOnce`
 */
export function updateSession(caller: Caller, input: UpdateSessionInput): Promise<string> {
  return makeOnce(caller, { field: 'updateSession', run: update, ...KEEP_ID }, input);
}

/** Of a mutation whose result is the session's UUID. */
const KEEP_ID = {
  keep: (id: string) => ({ sessionId: id }),
  replay: (_caller: Caller, { sessionId }: { readonly sessionId: string }) => sessionId,
};

async function update(caller: Caller, input: UpdateSessionInput): Promise<string> {
  assertUpdate(input);
  const columns = readDescription(input, caller.settings);
  try {
    return await write(caller, async transaction => {
      const session = await lockSession(transaction, caller.viewer, input.id, { trashed: false, expectedVersion: input.expectedVersion });
      const changes: Changes = { assignments: [], fields: [], parentId: null, status: null };
      changeColumns(changes, session, columns, caller);
      if (input.archived != null) changeMark(changes, session, 'archived', input.archived);
      if (input.pinned != null) changeMark(changes, session, 'pinned', input.pinned);
      if (input.expectedCompletionAt !== undefined) {
        changeInstant(
          changes,
          'expected_completion_at',
          'expectedCompletionAt',
          session.expected_completion_at,
          input.expectedCompletionAt,
        );
      }
      if (input.metadata !== undefined) await changeMetadata(changes, transaction, session, input);
      if (input.parentId != null) await changeParent(changes, transaction, caller, session, input.parentId);
      changeStatus(changes, session, input);
      return { session, changes };
    });
  } catch (error) {
    throw takenOr(error, { key: null, label: columns.label ?? null });
  }
}

/**
 * Ends a session; one that already has this status stays as it is, its reason included.
 * @returns the session's UUID
 * @throws DomainError SESSION_NOT_FOUND, VERSION_CONFLICT, BAD_USER_INPUT, INVALID_STATUS_TRANSITION; as `makeOnce`
 */
export function endSession(caller: Caller, input: EndSessionInput): Promise<string> {
  return makeOnce(caller, { field: 'endSession', run: end, ...KEEP_ID }, input);
}

async function end(caller: Caller, input: EndSessionInput): Promise<string> {
  const status = input.status ?? 'ENDED';
  assertStorable({ reason: input.reason }, 'input');
  if (!ENDINGS.includes(status)) throw badInput('input.status', `must be one of ${ENDINGS.join(', ')}`);
  readReason(input.reason, 'input.reason');
  return write(caller, async transaction => {
    const session = await lockSession(transaction, caller.viewer, input.id, { trashed: false, expectedVersion: input.expectedVersion });
    const changes: Changes = { assignments: [], fields: [], parentId: null, status: null };
    if (session.status !== status) changeStatus(changes, session, { id: input.id, status, statusReason: input.reason });
    return { session, changes };
  });
}

type Decision = { readonly session: LockedSession; readonly changes: Changes };

async function write(caller: Caller, decide: (transaction: Executor) => Promise<Decision>): Promise<string> {
  const { id, written } = await caller.database.transaction(async transaction => {
    const { session, changes } = await decide(transaction);
    if (changes.assignments.length === 0) return { id: session.id, written: false };
    await transaction.rows(Prisma.sql`
      with session as (
        update aria_engine.chat_sessions set ${Prisma.join(changes.assignments)}, version = version + 1 where id = ${session.id}::uuid
      ), activity as (
        update aria_engine.chat_session_activity set updated_at = clock_timestamp() where session_id = ${session.id}::uuid
      )
      ${insertEvents(session.id, session.agent_id, eventsOf(session, changes))}`);
    return { id: session.id, written: true };
  });
  if (written) caller.eventsWritten();
  return id;
}

function eventsOf(session: LockedSession, changes: Changes): TypedEvent[] {
  const events: TypedEvent[] = [];
  if (changes.fields.length > 0) {
    const changed = { changed: changes.fields };
    events.push({ type: 'UPDATED', payload: changes.parentId === null ? changed : { ...changed, parentId: changes.parentId } });
  }
  if (changes.status !== null) {
    events.push({ type: 'STATUS_CHANGED', payload: statusChange(session, changes.status.to, changes.status.reason) });
  }
  return events;
}

function changeColumns(changes: Changes, session: LockedSession, columns: SessionColumns, caller: Caller): void {
  for (const [column, value] of Object.entries(columns) as [keyof SessionColumns, unknown][]) {
    if (sameValue(session[column], value)) continue;
    const type = COLUMN_TYPE[column] ?? 'text';
    const stored = type === 'jsonb' && value !== null ? JSON.stringify(value) : value;
    changes.assignments.push(Prisma.sql`${Prisma.raw(column)} = ${stored}::${Prisma.raw(type)}`);
    changes.fields.push(FIELD_OF[column]);
  }
  const next = { ...session, ...columns };
  const title = effectiveTitle({
    id: session.id,
    givenTitle: next.given_title,
    displayName: next.display_name,
    subject: next.subject,
    derivedTitle: session.derived_title,
  });
  if (title !== session.title) {
    changes.assignments.push(Prisma.sql`title = ${title}`);
    changes.fields.push('title');
  }
  const kind = sessionKind(session.key, next.origin?.chatType ?? null, caller.settings);
  if (columns.origin !== undefined && kind !== session.kind) {
    changes.assignments.push(Prisma.sql`kind = ${kind}::aria_engine.session_kind`);
    changes.fields.push('kind');
  }
  if (
    columns.token_limit != null &&
    columns.token_limit !== session.token_limit &&
    reachesTokenLimit(BigInt(session.totalTokens), columns.token_limit)
  ) {
    throw new DomainError('INVALID_TOKEN_LIMIT', `95 % of ${columns.token_limit} tokens are already used: ${session.totalTokens}.`, {
      field: 'input.tokenLimit',
      totalTokens: session.totalTokens,
    });
  }
}

/** Equality of column values: texts, numbers, arrays of texts, and flat JSON objects whatever the order of their keys. */
function sameValue(current: unknown, next: unknown): boolean {
  if (Array.isArray(current) && Array.isArray(next))
    return current.length === next.length && current.every((item, index) => item === next[index]);
  if (!isJsonObject(current) || !isJsonObject(next)) return current === next;
  const keys = Object.keys(current);
  return keys.length === Object.keys(next).length && keys.every(key => current[key] === next[key]);
}

function changeMark(changes: Changes, session: LockedSession, mark: 'archived' | 'pinned', set: boolean): void {
  const column = `${mark}_at` as const;
  if ((session[column] !== null) === set) return;
  changes.assignments.push(set ? Prisma.sql`${Prisma.raw(column)} = clock_timestamp()` : Prisma.sql`${Prisma.raw(column)} = null`);
  changes.fields.push(`${mark}At`);
}

function changeInstant(changes: Changes, column: string, field: string | null, current: Date | null, next: Date | null): void {
  if (current?.getTime() === next?.getTime()) return;
  changes.assignments.push(Prisma.sql`${Prisma.raw(column)} = ${next?.toISOString() ?? null}::timestamptz`);
  if (field !== null) changes.fields.push(field);
}

async function changeMetadata(changes: Changes, transaction: Executor, session: LockedSession, input: UpdateSessionInput): Promise<void> {
  const next = nextMetadata(input);
  const [result] = await transaction.rows<{ changed: boolean; metadata: unknown }>(Prisma.sql`
    select (${next}) is distinct from metadata as changed, (${next}) as metadata
    from aria_engine.chat_sessions where id = ${session.id}::uuid`);
  if (result?.changed !== true) return;
  // Measured here, as in createSession: the text Postgres makes of jsonb has spaces, and digits where JSON has exponents.
  assertMetadataSize(Buffer.byteLength(JSON.stringify(result.metadata)), 'input.metadata');
  changes.assignments.push(Prisma.sql`metadata = ${next}`);
  changes.fields.push('metadata');
}

function nextMetadata(input: UpdateSessionInput): Sql {
  const metadata = readMetadata(input.metadata, 'input.metadata');
  if (input.metadata === null || input.metadataWrite === 'REPLACE') return Prisma.sql`${JSON.stringify(metadata)}::jsonb`;
  const entries = Object.entries(metadata);
  const set = Object.fromEntries(entries.filter(([, value]) => value !== null));
  const removed = entries.flatMap(([key, value]) => (value === null ? [key] : []));
  return Prisma.sql`(metadata || ${JSON.stringify(set)}::jsonb) - ${removed}::text[]`;
}

async function changeParent(changes: Changes, transaction: Executor, caller: Caller, session: LockedSession, id: string): Promise<void> {
  const parentId = parseSessionId(id);
  if (parentId !== null && parentId === session.parent_id) return;
  if (session.parent_id !== null) throw badInput('input.parentId', 'must not be changed once it is set');
  if (parentId === session.id) throw badInput('input.parentId', 'must not be the session itself');
  // Behind the session's lock, not before it: a session that stays locked then holds up none but those who want it.
  await transaction.rows(Prisma.sql`select 1 from pg_advisory_xact_lock(${PARENT_LOCK})`);
  // Locked, so that it is not removed for good before this is committed.
  const [parent] = await transaction.rows<{ trashed: boolean }>(Prisma.sql`
    select p.deleted_at is not null as trashed from aria_engine.chat_sessions p
    where p.id = ${parentId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`p.agent_id`)} for key share`);
  if (parent === undefined || parentId === null) throw sessionNotFound(id);
  if (parent.trashed) throw sessionNotFound(id, true);
  const [circle] = await transaction.rows(Prisma.sql`
    with recursive lineage(id, parent_id) as (
      select p.id, p.parent_id from aria_engine.chat_sessions p where p.id = ${parentId}::uuid
      union
      select p.id, p.parent_id from lineage join aria_engine.chat_sessions p on p.id = lineage.parent_id
    ) select id from lineage where id = ${session.id}::uuid`);
  if (circle !== undefined) throw badInput('input.parentId', 'must not be a descendant of the session');
  changes.assignments.push(Prisma.sql`parent_id = ${parentId}::uuid`);
  changes.fields.push('parent');
  changes.parentId = parentId;
}

function changeStatus(changes: Changes, session: LockedSession, input: UpdateSessionInput): void {
  const to = input.status ?? session.status;
  if (input.status != null && !SETTABLE.includes(to) && to !== session.status) {
    throw badInput('input.status', `must be one of ${SETTABLE.join(', ')}`);
  }
  if (!canTransition(session.status, to)) {
    throw new DomainError('INVALID_STATUS_TRANSITION', `A session that is ${session.status} cannot become ${to}.`, {
      from: session.status,
      to,
      allowed: transitionsFrom(session.status),
    });
  }
  const moved = to !== session.status;
  const kept = moved ? null : session.status_reason;
  const reason = input.statusReason === undefined ? kept : readReason(input.statusReason, 'input.statusReason');
  const before = changes.assignments.length;
  if (moved) changes.assignments.push(Prisma.sql`status = ${to}::aria_engine.session_status`);
  // Its last activity may be long ago; only from now on may it stall.
  if (moved && to === 'WORKING') changes.assignments.push(Prisma.sql`working_since = clock_timestamp()`);
  if (reason !== session.status_reason) changes.assignments.push(Prisma.sql`status_reason = ${reason}`);
  if (input.endedAt != null && !isTerminal(to)) throw badInput('input.endedAt', 'can only be set on a session that has ended');
  if (moved && isTerminal(to) && input.endedAt == null) changes.assignments.push(Prisma.sql`ended_at = clock_timestamp()`);
  else if (input.endedAt !== undefined && isTerminal(to)) changeInstant(changes, 'ended_at', null, session.ended_at, input.endedAt);
  else if (moved && session.ended_at !== null) changes.assignments.push(Prisma.sql`ended_at = null`);
  if (changes.assignments.length > before) changes.status = { to, reason };
}
