import { badInput, DomainError, sessionNotFound } from '../../errors.ts';
import type { TypedEvent } from '../../events/event-types.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { executeOnce } from '../idempotency/idempotency.service.ts';
import { canTransition, chatTypeOf, effectiveTitle, isTerminal, type SessionStatus, transitionsFrom } from '../session/session.rules.ts';
import { type KeyRules, sessionKind } from '../session-key/session-key.rules.ts';
import { assertMetadataSize, assertStorable, isJsonObject, readMetadata } from '../text/text.input.ts';
import { reachesTokenLimit } from '../usage/usage.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { SessionChanges } from './session-changes.sql.ts';
import { DESCRIPTION_FIELDS, readDescription, type SessionDescription } from './session-description.input.ts';
import { type LockedSession, lockSession, statusChange } from './session-lock.service.ts';
import { assertUpdate, type EndSessionInput, readReason, type UpdateSessionInput } from './session-mutation.input.ts';
import { toNameTaken } from './session-names.service.ts';
import { STORED_ID } from './stored-id.rules.ts';

/** Statuses that `updateSession` sets. Only the sweeper sets STALLED, and only a kill sets TERMINATED. */
const SETTABLE: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING', 'COMPLETED', 'FAILED', 'ENDED'];
const ENDINGS: readonly SessionStatus[] = ['COMPLETED', 'FAILED', 'ENDED'];

/** Key of the advisory lock under which parents are set: two calls at once, each valid on its own, could form a cycle. Any fixed number will do. */
const PARENT_LOCK = Prisma.raw('7305021101');

/**
 * Changes the fields that the input has, all or nothing. A call that changes nothing writes nothing.
 * @returns the session's UUID
 * @throws DomainError SESSION_NOT_FOUND, VERSION_CONFLICT, BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT, INVALID_STATUS_TRANSITION,
 * LABEL_TAKEN; as `executeOnce`
 */
export function updateSession(caller: Caller, input: UpdateSessionInput): Promise<string> {
  return executeOnce(caller, { field: 'updateSession', run: update, ...STORED_ID }, input);
}

async function update(caller: Caller, input: UpdateSessionInput): Promise<string> {
  assertUpdate(input);
  const description = readDescription(input, caller.settings);
  try {
    return await write(caller, input, async (transaction, session, changes) => {
      changeDescription(changes, session, description, caller.settings);
      changeMark(changes, session, 'archivedAt', input.archived);
      changeMark(changes, session, 'pinnedAt', input.pinned);
      if (input.expectedCompletionAt !== undefined) changeInstant(changes, session, 'expectedCompletionAt', input.expectedCompletionAt);
      if (input.metadata !== undefined) await changeMetadata(changes, transaction, session, input);
      if (input.parentId != null) await changeParent(changes, transaction, caller, session, input.parentId);
      changeStatus(changes, session, input);
    });
  } catch (error) {
    throw toNameTaken(error, { key: null, label: description.label ?? null }, true);
  }
}

/**
 * Ends a session. A session that already has this status keeps it, and its reason too.
 * @returns the session's UUID
 * @throws DomainError SESSION_NOT_FOUND, VERSION_CONFLICT, BAD_USER_INPUT, INVALID_STATUS_TRANSITION; as `executeOnce`
 */
export function endSession(caller: Caller, input: EndSessionInput): Promise<string> {
  return executeOnce(caller, { field: 'endSession', run: end, ...STORED_ID }, input);
}

async function end(caller: Caller, input: EndSessionInput): Promise<string> {
  const status = input.status ?? 'ENDED';
  assertStorable({ reason: input.reason }, 'input');
  if (!ENDINGS.includes(status)) throw badInput('input.status', `must be one of ${ENDINGS.join(', ')}`);
  readReason(input.reason, 'input.reason');
  return write(caller, input, (_transaction, session, changes) => {
    if (session.status !== status) changeStatus(changes, session, { status, statusReason: input.reason });
  });
}

/** Locks a session, collects its changes, and writes them with their events. */
async function write(
  caller: Caller,
  { id, expectedVersion }: { readonly id: string; readonly expectedVersion?: number | null },
  collect: (transaction: Executor, session: LockedSession, changes: SessionChanges) => void | Promise<void>,
): Promise<string> {
  const { sessionId, written } = await caller.database.transaction(async transaction => {
    const session = await lockSession(transaction, caller.viewer, id, { trashed: false, expectedVersion });
    const changes = new SessionChanges();
    await collect(transaction, session, changes);
    if (changes.assignments.length === 0) return { sessionId: session.id, written: false };
    await transaction.rows(Prisma.sql`
      with session as (
        update aria_engine.chat_sessions set ${Prisma.join(changes.assignments)}, version = version + 1 where id = ${session.id}::uuid
      ), activity as (
        update aria_engine.chat_session_activity set updated_at = clock_timestamp() where session_id = ${session.id}::uuid
      )
      ${insertEvents(session.id, session.agentId, eventsOf(session, changes))}`);
    return { sessionId: session.id, written: true };
  });
  if (written) caller.eventsWritten();
  return sessionId;
}

function eventsOf(session: LockedSession, { changed, parentId, status }: SessionChanges): TypedEvent[] {
  const events: TypedEvent[] = [];
  if (changed.length > 0) events.push({ type: 'UPDATED', payload: parentId === null ? { changed } : { changed, parentId } });
  if (status !== null) events.push({ type: 'STATUS_CHANGED', payload: statusChange(session, status.to, status.reason) });
  return events;
}

function changeDescription(changes: SessionChanges, session: LockedSession, description: SessionDescription, rules: KeyRules): void {
  for (const field of DESCRIPTION_FIELDS) {
    const value = description[field];
    if (value !== undefined && !isSameValue(session[field], value)) changes.set(field, value);
  }
  const next = { ...session, ...description };
  const title = effectiveTitle(next);
  if (title !== session.title) changes.set('title', title);
  const kind = sessionKind(session.key, chatTypeOf(next.origin), rules);
  if (description.origin !== undefined && kind !== session.kind) changes.set('kind', kind);
  const { tokenLimit } = description;
  if (tokenLimit != null && tokenLimit !== session.tokenLimit && reachesTokenLimit(BigInt(session.totalTokens), tokenLimit)) {
    throw new DomainError('INVALID_TOKEN_LIMIT', `95 % of ${tokenLimit} tokens are already used: ${session.totalTokens}.`, {
      field: 'input.tokenLimit',
      totalTokens: session.totalTokens,
    });
  }
}

/** Compares column values: texts, numbers, arrays of texts, and flat JSON objects regardless of the order of their keys. */
function isSameValue(current: unknown, next: unknown): boolean {
  if (Array.isArray(current) && Array.isArray(next)) {
    return current.length === next.length && current.every((item, index) => item === next[index]);
  }
  if (!isJsonObject(current) || !isJsonObject(next)) return current === next;
  const keys = Object.keys(current);
  return keys.length === Object.keys(next).length && keys.every(key => current[key] === next[key]);
}

/** Sets or clears a timestamp that marks the session. */
function changeMark(changes: SessionChanges, session: LockedSession, field: 'archivedAt' | 'pinnedAt', isSet?: boolean | null): void {
  if (isSet == null || (session[field] !== null) === isSet) return;
  changes.setTo(field, isSet ? Prisma.sql`clock_timestamp()` : Prisma.sql`null`);
}

function changeInstant(
  changes: SessionChanges,
  session: LockedSession,
  field: 'expectedCompletionAt' | 'endedAt',
  next: Date | null,
): void {
  if (session[field]?.getTime() !== next?.getTime()) changes.set(field, next);
}

async function changeMetadata(
  changes: SessionChanges,
  transaction: Executor,
  session: LockedSession,
  input: UpdateSessionInput,
): Promise<void> {
  const next = nextMetadata(input);
  const [result] = await transaction.rows<{ changed: boolean; metadata: unknown }>(Prisma.sql`
    select (${next}) is distinct from metadata as changed, (${next}) as metadata
    from aria_engine.chat_sessions where id = ${session.id}::uuid`);
  if (result?.changed !== true) return;
  // Measured as JSON.stringify writes it, like in createSession: Postgres writes jsonb with spaces, and digits in place of exponents.
  assertMetadataSize(Buffer.byteLength(JSON.stringify(result.metadata)), 'input.metadata');
  changes.setTo('metadata', next);
}

function nextMetadata(input: UpdateSessionInput): Sql {
  const metadata = readMetadata(input.metadata, 'input.metadata');
  if (input.metadata === null || input.metadataWrite === 'REPLACE') return Prisma.sql`${JSON.stringify(metadata)}::jsonb`;
  const entries = Object.entries(metadata);
  const set = Object.fromEntries(entries.filter(([, value]) => value !== null));
  const removed = entries.flatMap(([key, value]) => (value === null ? [key] : []));
  return Prisma.sql`(metadata || ${JSON.stringify(set)}::jsonb) - ${removed}::text[]`;
}

async function changeParent(
  changes: SessionChanges,
  transaction: Executor,
  caller: Caller,
  session: LockedSession,
  id: string,
): Promise<void> {
  const parentId = parseSessionId(id);
  if (parentId !== null && parentId === session.parentId) return;
  if (session.parentId !== null) throw badInput('input.parentId', 'must not be changed once it is set');
  if (parentId === session.id) throw badInput('input.parentId', 'must not be the session itself');
  // Taken after the session's lock: a call that waits for a locked session then does not block calls for other sessions.
  await transaction.rows(Prisma.sql`select 1 from pg_advisory_xact_lock(${PARENT_LOCK})`);
  // The lock keeps the parent from being removed for good before this transaction commits.
  const [parent] = await transaction.rows<{ trashed: boolean }>(Prisma.sql`
    select p.deleted_at is not null as trashed from aria_engine.chat_sessions p
    where p.id = ${parentId}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`p.agent_id`)} for key share`);
  if (parent === undefined || parentId === null) throw sessionNotFound(id);
  if (parent.trashed) throw sessionNotFound(id, true);
  const [cycle] = await transaction.rows(Prisma.sql`
    with recursive lineage(id, parent_id) as (
      select p.id, p.parent_id from aria_engine.chat_sessions p where p.id = ${parentId}::uuid
      union
      select p.id, p.parent_id from lineage join aria_engine.chat_sessions p on p.id = lineage.parent_id
    ) select id from lineage where id = ${session.id}::uuid`);
  if (cycle !== undefined) throw badInput('input.parentId', 'must not be a descendant of the session');
  changes.set('parentId', parentId);
  changes.parentId = parentId;
}

function changeStatus(
  changes: SessionChanges,
  session: LockedSession,
  input: Pick<UpdateSessionInput, 'status' | 'statusReason' | 'endedAt'>,
): void {
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
  const isTransition = to !== session.status;
  const kept = isTransition ? null : session.statusReason;
  const reason = input.statusReason === undefined ? kept : readReason(input.statusReason, 'input.statusReason');
  if (input.endedAt != null && !isTerminal(to)) throw badInput('input.endedAt', 'can only be set on a session that has ended');
  if (input.endedAt === null && input.status == null && isTerminal(to)) {
    throw badInput(
      'input.endedAt',
      'must not be null, because the session has ended; leave it out, or reopen the session with status ACTIVE',
    );
  }
  const before = changes.assignments.length;
  if (isTransition) changes.set('status', to);
  // The last activity may be long ago: the session stalls only after a full interval from now.
  if (isTransition && to === 'WORKING') changes.setTo('workingSince', Prisma.sql`clock_timestamp()`);
  if (reason !== session.statusReason) changes.set('statusReason', reason);
  if (isTransition && isTerminal(to) && input.endedAt == null) changes.setTo('endedAt', Prisma.sql`clock_timestamp()`);
  else if (input.endedAt != null) changeInstant(changes, session, 'endedAt', input.endedAt);
  else if (isTransition && session.endedAt !== null) changes.set('endedAt', null);
  if (changes.assignments.length > before) changes.status = { to, reason };
}
