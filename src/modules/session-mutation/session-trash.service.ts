import { DomainError } from '../../errors.ts';
import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import type { Executor } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { isMainSessionKey } from '../session-key/session-key.rules.ts';
import { assertScope } from '../viewer/viewer.rules.ts';
import { type LockedSession, lockSession } from './session-lock.service.ts';
import type { DeleteSessionInput, RestoreSessionInput } from './session-mutation.input.ts';
import { toNameTaken } from './session-names.service.ts';

/** Payload for the children of a removed session: they become roots. */
const CHILD_CHANGED = JSON.stringify({ changed: ['parent', 'depth'] });

/**
 * Moves a session to the trash, or removes it for good with all its messages. In the latter case its children become roots, with an
 * UPDATED event each.
 * @returns the session's UUID, and whether it was removed for good
 * @throws DomainError SESSION_NOT_FOUND (with `details.trashed` if it is already in the trash), MAIN_SESSION_PROTECTED, VERSION_CONFLICT,
 * FORBIDDEN to remove a session for good without the scope ADMIN
 */
export async function deleteSession(
  caller: Caller,
  input: DeleteSessionInput,
): Promise<{ readonly id: string; readonly permanent: boolean }> {
  const permanent = input.permanent ?? false;
  if (permanent) assertScope(caller.viewer, 'ADMIN', 'to remove a session for good');
  const id = await caller.database.transaction(async transaction => {
    const session = await lockSession(transaction, caller.viewer, input.id, {
      trashed: permanent,
      forRemoval: permanent,
      expectedVersion: input.expectedVersion,
    });
    if (isMainSessionKey(session.key, caller.settings) && session.agentId === caller.settings.defaultAgent) {
      throw new DomainError('MAIN_SESSION_PROTECTED', `${session.key} is the default agent's main session and cannot be deleted.`, {
        key: session.key,
      });
    }
    if (permanent) await removeSession(transaction, session);
    else {
      await transaction.rows(Prisma.sql`
        with session as (
          update aria_engine.chat_sessions set deleted_at = clock_timestamp(), version = version + 1 where id = ${session.id}::uuid
        ), activity as (
          update aria_engine.chat_session_activity set listed = false, updated_at = clock_timestamp() where session_id = ${session.id}::uuid
        ) ${insertEvents(session.id, session.agentId, [{ type: 'DELETED', payload: { permanent: false } }])}`);
    }
    return session.id;
  });
  caller.eventsWritten();
  return { id, permanent };
}

/**
 * Removes a session with its messages for good. The transaction must have locked it `for update`. Its children become roots, and a tombstone
 * keeps imports from creating it again. The events name the former parents, and those of the children come first: subscriptions to
 * descendants need that to deliver them.
 */
export async function removeSession(transaction: Executor, session: Pick<LockedSession, 'id' | 'agentId'>): Promise<void> {
  await transaction.rows(Prisma.sql`
    with child as (
      update aria_engine.chat_sessions set parent_id = null, version = version + 1 where parent_id = ${session.id}::uuid
      returning id, agent_id
    ), child_activity as (
      update aria_engine.chat_session_activity a set updated_at = clock_timestamp() from child where a.session_id = child.id
    ), session as (
      delete from aria_engine.chat_sessions where id = ${session.id}::uuid
    ), source as (
      delete from aria_engine.import_sources where session_id = ${session.id}::uuid
    ), line as (
      delete from aria_engine.import_lines where session_id = ${session.id}::uuid
    ), tombstone as (
      insert into aria_engine.session_tombstones (session_id, agent_id) values (${session.id}::uuid, ${session.agentId})
      on conflict (session_id) do nothing
    )
    insert into aria_engine.session_events (session_id, agent_id, type, payload)
    select event.session_id, event.agent_id, event.type::aria_engine.session_event_type, event.payload from (
      select 1 as place, id as session_id, agent_id, 'UPDATED' as type,
        ${CHILD_CHANGED}::jsonb || jsonb_build_object('formerParentId', ${session.id}::uuid) as payload
      from child
      union all
      select 2, id, agent_id, 'DELETED', jsonb_strip_nulls(jsonb_build_object('permanent', true, 'parentId', parent_id))
      from aria_engine.chat_sessions where id = ${session.id}::uuid
    ) event order by event.place`);
}

/**
 * Restores a session from the trash. A session that is not in the trash stays unchanged.
 * @returns the session's UUID
 * @throws DomainError SESSION_NOT_FOUND, KEY_TAKEN or LABEL_TAKEN if another session has the name by now
 */
export async function restoreSession(caller: Caller, input: RestoreSessionInput): Promise<string> {
  let names: Pick<LockedSession, 'key' | 'label'> = { key: null, label: null };
  try {
    const { id, restored } = await caller.database.transaction(async transaction => {
      const session = await lockSession(transaction, caller.viewer, input.id, { trashed: true });
      if (session.deletedAt === null) return { id: session.id, restored: false };
      names = session;
      const dropKey = input.dropKey === true && session.key !== null;
      const dropLabel = input.dropLabel === true && session.label !== null;
      await transaction.rows(Prisma.sql`
        with session as (
          update aria_engine.chat_sessions set deleted_at = null, version = version + 1
            ${dropKey ? Prisma.sql`, key = null, kind = 'OTHER'` : Prisma.empty} ${dropLabel ? Prisma.sql`, label = null` : Prisma.empty}
          where id = ${session.id}::uuid
        ), activity as (
          update aria_engine.chat_session_activity set listed = ${session.supersededAt === null}, updated_at = clock_timestamp()
          where session_id = ${session.id}::uuid
        ) ${insertEvents(session.id, session.agentId, [{ type: 'RESTORED', payload: {} }])}`);
      return { id: session.id, restored: true };
    });
    if (restored) caller.eventsWritten();
    return id;
  } catch (error) {
    throw toNameTaken(error, names, false);
  }
}
