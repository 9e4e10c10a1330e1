import { v7 as uuidv7 } from 'uuid';
import { DomainError, sessionNotFound } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseMessageId, parseSessionId } from '../../global-id.ts';
import { type Executor, PREPARED } from '../../postgres/database.ts';
import type { Caller } from '../caller.ts';
import { executeOnce } from '../idempotency/idempotency.service.ts';
import { isTerminal } from '../session/session.rules.ts';
import { lockSession } from '../session-mutation/session-lock.service.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { type AppendMessageInput, type AppendMessagesInput, type CheckedMessage, readMessage, readMessages } from './message.input.ts';
import { type MessageRow, messageColumns } from './message.loader.ts';
import { messageNotFound } from './message.rules.ts';
import { moveBranch } from './message-branch.sql.ts';
import { type InsertedRow, insertMessages, type MessageAppend, type NewMessage } from './message-insert.sql.ts';

/** The column groups that appended messages have, besides the core. */
export const WRITTEN_COLUMNS: readonly string[] = ['tree'];

/** The messages that a call appended, oldest first. */
export interface Appended {
  readonly sessionId: string;
  readonly messages: readonly MessageRow[];
}

/**
 * Appends one message after the current leaf, or after the parent that it names.
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
 * Appends 1 to 100 messages in their order, all or none. Each follows the one before, unless it names a parent.
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

/** @throws DomainError SESSION_NOT_FOUND, MESSAGE_NOT_FOUND if one of the messages has been deleted */
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

/** @param id global id or UUID of the session */
async function append(caller: Caller, id: string, messages: readonly CheckedMessage[]): Promise<Appended> {
  const sessionId = parseSessionId(id);
  if (sessionId === null) throw sessionNotFound(id);
  const fresh = messages.map(message => ({ ...message, id: uuidv7(), parentPosition: null }));
  const rows = messages.some(message => message.parentId !== null)
    ? await caller.database.transaction(transaction => appendToBranch(caller, transaction, id, fresh))
    : insertedBy(id, await insertTogether(caller, { sessionId, messages: fresh }));
  caller.eventsWritten();
  return { sessionId, messages: rows };
}

/** Appends messages of which at least one names its parent: the active branch may change. */
async function appendToBranch(
  caller: Caller,
  transaction: Executor,
  id: string,
  messages: readonly NewMessage[],
): Promise<readonly MessageRow[]> {
  const { id: sessionId } = await lockSession(transaction, caller.viewer, id, { trashed: false });
  const append = { sessionId, messages: await withParents(transaction, sessionId, messages) };
  const rows = insertedBy(id, await transaction.rows<InsertedRow>(insertMessages(caller.viewer, [append], 'wait')));
  const [first] = rows;
  const leaf = rows.at(-1);
  if (first !== undefined && leaf !== undefined) await transaction.rows(moveBranch(sessionId, leaf.position, first.position));
  const path = await transaction.rows<{ id: string }>(Prisma.sql`select id from aria_engine.chat_messages
    where session_id = ${sessionId}::uuid and id = any(${messages.map(message => message.id)}::uuid[]) and on_branch`);
  const active = new Set(path.map(row => row.id));
  return rows.map(row => ({ ...row, active: active.has(row.id) }));
}

/** Looks up the positions of the parents that the messages name. */
async function withParents(transaction: Executor, sessionId: string, messages: readonly NewMessage[]): Promise<NewMessage[]> {
  const parentIds = messages.map(({ parentId }) => {
    if (parentId === null) return null;
    const parsed = parseMessageId(parentId);
    if (parsed === null || (parsed.sessionId !== null && parsed.sessionId !== sessionId)) throw messageNotFound(parentId);
    return parsed.messageId;
  });
  const wanted = [...new Set(parentIds.filter(id => id !== null))];
  const found = await transaction.rows<{ id: string; position: number }>(Prisma.sql`select id, position::float8 as position
    from aria_engine.chat_messages where session_id = ${sessionId}::uuid and id = any(${wanted}::uuid[])`);
  const positions = new Map(found.map(row => [row.id, row.position]));
  return messages.map((message, index) => {
    const id = parentIds[index];
    if (id == null) return message;
    const parentPosition = positions.get(id);
    if (parentPosition === undefined) throw messageNotFound(message.parentId ?? id);
    return { ...message, parentPosition };
  });
}

/** Inserts messages together with those of other callers, unless the call is part of a transaction. */
function insertTogether({ viewer, database, appendQueue }: Caller, append: MessageAppend): Promise<readonly InsertedRow[]> {
  return appendQueue === null ? database.rows<InsertedRow>(insertMessages(viewer, [append], 'wait')) : appendQueue.append(viewer, append);
}

/**
 * The messages that an append inserted.
 * @param id the session's id as the caller wrote it, for errors
 * @throws DomainError SESSION_NOT_FOUND, SESSION_ENDED if it inserted none
 */
function insertedBy(id: string, rows: readonly InsertedRow[]): readonly MessageRow[] {
  const [first] = rows;
  if (first === undefined || first.status === null) throw sessionNotFound(id);
  if (first.trashed === true) throw sessionNotFound(id, true);
  if (isTerminal(first.status)) {
    throw new DomainError('SESSION_ENDED', `The session is ${first.status} and takes no more messages.`, { status: first.status });
  }
  return rows.flatMap(({ append: _append, status: _status, trashed: _trashed, ...message }) => (message.id === null ? [] : [message]));
}
