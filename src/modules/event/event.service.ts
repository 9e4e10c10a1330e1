import { badInput, sessionNotFound } from '../../errors.ts';
import { readEventCursor } from '../../events/event-cursor.ts';
import type { EventLog } from '../../events/event-log.ts';
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
 * the agent.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamStatusChanges(
  caller: Caller,
  events: EventLog,
  { sessionId, agentId, after }: { readonly sessionId?: string | null; readonly agentId?: string | null } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'STATUS_CHANGED'>>> {
  const ids = sessionId == null ? null : [await findStreamedSession(caller, sessionId, after)];
  return events.subscribe({
    sessionIds: ids,
    agentIds: agentId == null ? null : [findableAgentId(agentId) ?? ''],
    types: ['STATUS_CHANGED'],
    visibleAgents: caller.viewer.agentIds,
    after: positionOf(after),
  });
}

/**
 * Streams the messages that are added to a session.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamAddedMessages(
  caller: Caller,
  events: EventLog,
  { sessionId, after }: { readonly sessionId: string } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'MESSAGE_ADDED'>>> {
  const id = await findStreamedSession(caller, sessionId, after);
  return events.subscribe({ sessionIds: [id], types: ['MESSAGE_ADDED'], visibleAgents: caller.viewer.agentIds, after: positionOf(after) });
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
 * The UUID of a stream's session. If the stream resumes, the session may have been removed for good: the client may still lack its last events.
 * @throws DomainError SESSION_NOT_FOUND
 */
async function findStreamedSession(caller: Caller, sessionId: string, after: string | null | undefined): Promise<string> {
  const id = parseSessionId(sessionId);
  if (id === null) throw sessionNotFound(sessionId);
  const removed = Prisma.sql`union all select t.session_id from aria_engine.session_tombstones t
    where t.session_id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`t.agent_id`)}`;
  const [found] = await caller.database.rows<{ id: string }>(Prisma.sql`select s.id from aria_engine.chat_sessions s
    where s.id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)} ${after == null ? Prisma.empty : removed}`);
  if (found === undefined) throw sessionNotFound(sessionId);
  return found.id;
}
