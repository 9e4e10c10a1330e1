import { badInput, sessionNotFound } from '../../errors.ts';
import { readEventCursor } from '../../events/event-cursor.ts';
import type { EventLog, EventRequest, EventStream } from '../../events/event-log.ts';
import type { EventType } from '../../events/event-types.ts';
import type { StoredEvent } from '../../events/stored-event.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Caller } from '../caller.ts';
import { findableAgentId } from '../session-key/session-key.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

/** Which events the caller wants. A filter that is left out or null accepts all events; an empty list accepts none. */
export interface SessionEventFilter {
  /** Global ids or UUIDs. Unknown and malformed ids match nothing. */
  readonly sessionIds?: readonly string[] | null;
  readonly agentIds?: readonly string[] | null;
  readonly types?: readonly EventType[] | null;
  readonly includeDescendants?: boolean | null;
}

/** Maximum sessions, and maximum agents, of one filter, because each subscription keeps them in memory. */
export const MAX_FILTER_VALUES = 1_000;

/** Where a stream starts. */
export interface StreamStart {
  /** The cursor of an event. The stream starts with the matching events after it; without a cursor, with the events from now on. */
  readonly after?: string | null;
}

/**
 * Streams the matching events.
 * @throws DomainError BAD_USER_INPUT if a list is too long, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamEvents(
  caller: Caller,
  events: EventLog,
  filter: SessionEventFilter,
  { after }: StreamStart = {},
): Promise<AsyncIterableIterator<StoredEvent>> {
  const { sessionIds, agentIds, types, includeDescendants } = filter;
  assertLength(sessionIds, 'filter.sessionIds');
  assertLength(agentIds, 'filter.agentIds');
  return events.subscribe({
    sessionIds: sessionIds?.map(parseSessionId).filter(id => id !== null),
    agentIds: agentIds?.map(findableAgentId).filter(id => id !== null),
    types,
    includeDescendants: includeDescendants === true,
    visibleAgents: caller.viewer.agentIds,
    after: positionOf(after),
  });
}

/**
 * Streams the status changes of one session, of one agent's sessions, or of all sessions. With both arguments, of the session while it belongs to
 * the agent. The stream of one session ends when the session is removed for good.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamStatusChanges(
  caller: Caller,
  events: EventLog,
  { sessionId, agentId, after }: { readonly sessionId?: string | null; readonly agentId?: string | null } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'STATUS_CHANGED'>>> {
  const request = {
    agentIds: agentId == null ? null : [findableAgentId(agentId) ?? ''],
    types: ['STATUS_CHANGED'] as const,
    visibleAgents: caller.viewer.agentIds,
  };
  if (sessionId != null) return streamOfSession(caller, events, sessionId, after, request);
  return events.subscribe({ ...request, after: positionOf(after) });
}

/**
 * Streams the messages that are added to a session. The stream ends when the session is removed for good.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamAddedMessages(
  caller: Caller,
  events: EventLog,
  { sessionId, after }: { readonly sessionId: string } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'MESSAGE_ADDED'>>> {
  return streamOfSession(caller, events, sessionId, after, { types: ['MESSAGE_ADDED'], visibleAgents: caller.viewer.agentIds });
}

function assertLength(values: readonly string[] | null | undefined, field: string): void {
  if (values != null && values.length > MAX_FILTER_VALUES) {
    throw badInput(field, `must have at most ${MAX_FILTER_VALUES} values; got ${values.length}`);
  }
}

function positionOf(after: string | null | undefined): bigint | undefined {
  return after == null ? undefined : readEventCursor(after, 'after');
}

/**
 * Streams events of one session until it is removed for good. If the stream resumes, that may have happened already: the client may still lack
 * the last events.
 * @throws DomainError SESSION_NOT_FOUND; as `subscribe`
 */
async function streamOfSession<Types extends EventType>(
  caller: Caller,
  events: EventLog,
  sessionId: string,
  after: string | null | undefined,
  request: EventRequest<Types>,
): Promise<EventStream<Types>> {
  const id = parseSessionId(sessionId);
  if (id === null) throw sessionNotFound(sessionId);
  const findSession = () => findStreamedSession(caller, id, { orRemoved: after != null });
  let stream: EventStream<Types>;
  try {
    stream = await events.subscribe({ ...request, sessionIds: [id], endsWithSession: true, after: positionOf(after) });
  } catch (error) {
    if ((await findSession()) === null) throw sessionNotFound(sessionId);
    throw error;
  }
  try {
    // Read after the stream has its position: a removal that this does not see comes later in the log, and ends the stream.
    const found = await findSession();
    if (found === null) throw sessionNotFound(sessionId);
    if (found.removed) stream.endAt(await events.sync());
    return stream;
  } catch (error) {
    await stream.return?.();
    throw error;
  }
}

/** Null if the session does not exist. `orRemoved`: also finds a session that has been removed for good. */
async function findStreamedSession(
  caller: Caller,
  id: string,
  { orRemoved }: { readonly orRemoved: boolean },
): Promise<{ readonly removed: boolean } | null> {
  const removed = Prisma.sql`union all select true from aria_engine.session_tombstones t
    where t.session_id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`t.agent_id`)}`;
  const [found] = await caller.database.rows<{ removed: boolean }>(Prisma.sql`select false as removed from aria_engine.chat_sessions s
    where s.id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)} ${orRemoved ? removed : Prisma.empty}`);
  return found ?? null;
}
