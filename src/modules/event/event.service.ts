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

/** Which events are wanted, as the caller wrote it; what is left out or null lets all pass, an empty list nothing. */
export interface SessionEventFilter {
  /** Global ids or UUIDs; unknown and malformed ones match nothing. */
  readonly sessionIds?: readonly string[] | null;
  readonly agentIds?: readonly string[] | null;
  readonly types?: readonly EventType[] | null;
  readonly includeDescendants?: boolean | null;
}

/** Most sessions, and most agents, one filter names: each subscription keeps its own. */
export const MAX_FILTER_VALUES = 1_000;

/** What all streams take beside their filter; each fails with BAD_CURSOR or CURSOR_EXPIRED where it does not fit the log. */
export interface StreamStart {
  /** The cursor of an event: all that matches behind it comes first. Without it, from now on. */
  readonly after?: string | null;
}

/**
 * All events that match.
 * @throws DomainError BAD_USER_INPUT for lists that are too long, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
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
    after: placeOf(after),
  });
}

/**
 * Changes of status: of one session, of one agent's sessions, of one session while it is that agent's, or of all.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamStatusChanges(
  caller: Caller,
  events: EventLog,
  { sessionId, agentId, after }: { readonly sessionId?: string | null; readonly agentId?: string | null } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'STATUS_CHANGED'>>> {
  const ids = sessionId == null ? null : [await streamedSession(caller, sessionId, after)];
  return events.subscribe({
    sessionIds: ids,
    agentIds: agentId == null ? null : [findableAgentId(agentId) ?? ''],
    types: ['STATUS_CHANGED'],
    visibleAgents: caller.viewer.agentIds,
    after: placeOf(after),
  });
}

/**
 * Messages added to a session.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, BAD_CURSOR, CURSOR_EXPIRED, SERVICE_UNAVAILABLE
 */
export async function streamAddedMessages(
  caller: Caller,
  events: EventLog,
  { sessionId, after }: { readonly sessionId: string } & StreamStart,
): Promise<AsyncIterableIterator<StoredEvent<'MESSAGE_ADDED'>>> {
  const id = await streamedSession(caller, sessionId, after);
  return events.subscribe({ sessionIds: [id], types: ['MESSAGE_ADDED'], visibleAgents: caller.viewer.agentIds, after: placeOf(after) });
}

function assertLength(values: readonly string[] | null | undefined, field: string): void {
  if (values != null && values.length > MAX_FILTER_VALUES) throw badInput(field, `has more than ${MAX_FILTER_VALUES} values`);
}

function placeOf(after: string | null | undefined): bigint | undefined {
  return after == null ? undefined : readEventCursor(after, 'after');
}

/**
 * The UUID of the session a stream is about. Who resumes gets to one that has been removed for good meanwhile too: its last events
 * may not have arrived yet, and a stream that had not been cut would go on as well.
 */
async function streamedSession(caller: Caller, sessionId: string, after: string | null | undefined): Promise<string> {
  const id = parseSessionId(sessionId);
  if (id === null) throw sessionNotFound(sessionId);
  const removed = Prisma.sql`union all select t.session_id from aria_engine.session_tombstones t
    where t.session_id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`t.agent_id`)}`;
  const [found] = await caller.database.rows<{ id: string }>(Prisma.sql`select s.id from aria_engine.chat_sessions s
    where s.id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)} ${after == null ? Prisma.empty : removed}`);
  if (found === undefined) throw sessionNotFound(sessionId);
  return found.id;
}
