import { insertEvents } from '../../events/event-write.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseMessageId } from '../../global-id.ts';
import type { Caller } from '../caller.ts';
import { lockSession } from '../session-mutation/session-lock.service.ts';
import type { DeleteMessageInput } from './message.input.ts';
import { messageNotFound } from './message.rules.ts';
import { moveBranch } from './message-branch.sql.ts';

/** UUIDs of a message that was deleted and of its session. */
export interface DeletedMessage {
  readonly sessionId: string;
  readonly messageId: string;
}

/**
 * Deletes a message. Its replies become replies to its parent. Its usage stays in the session's totals.
 * @throws DomainError SESSION_NOT_FOUND, MESSAGE_NOT_FOUND, also for a message of another session
 */
export async function deleteMessage(caller: Caller, input: DeleteMessageInput): Promise<DeletedMessage> {
  const deleted = await caller.database.transaction(async transaction => {
    const session = await lockSession(transaction, caller.viewer, input.sessionId, { trashed: false });
    const parsed = parseMessageId(input.id);
    if (parsed === null || (parsed.sessionId !== null && parsed.sessionId !== session.id)) throw messageNotFound(input.id);
    const { messageId } = parsed;
    const [message] = await transaction.rows<{ position: number; parent: number | null }>(Prisma.sql`
      delete from aria_engine.chat_messages where session_id = ${session.id}::uuid and id = ${messageId}::uuid
      returning position::float8 as position, parent_position::float8 as parent`);
    if (message === undefined) throw messageNotFound(input.id);
    const { position, parent } = message;
    await transaction.rows(Prisma.sql`update aria_engine.chat_messages set parent_position = ${parent}::bigint
      where session_id = ${session.id}::uuid and parent_position = ${position}::bigint`);
    const [activity] = await transaction.rows<{ leaf: number | null }>(Prisma.sql`
      with next as (
        select case when leaf_position is distinct from ${position}::bigint then leaf_position
            else coalesce(${parent}::bigint, (select max(position) from aria_engine.chat_messages where session_id = ${session.id}::uuid)) end as leaf
        from aria_engine.chat_session_activity where session_id = ${session.id}::uuid
      ), event as (
        ${insertEvents(session.id, session.agentId, [{ type: 'MESSAGE_DELETED', payload: { messageId, position } }])}
      )
      update aria_engine.chat_session_activity a set message_count = a.message_count - 1, updated_at = clock_timestamp(),
        leaf_position = next.leaf,
        last_message_at = (select created_at from aria_engine.chat_messages where session_id = ${session.id}::uuid and position = next.leaf)
      from next where a.session_id = ${session.id}::uuid
      returning leaf_position::float8 as leaf`);
    // The deleted message may have been a root and the leaf: then the newest message is the new leaf, and its branch becomes active.
    if (parent === null && activity?.leaf != null) await transaction.rows(moveBranch(session.id, activity.leaf, 0));
    return { sessionId: session.id, messageId };
  });
  caller.eventsWritten();
  return deleted;
}
