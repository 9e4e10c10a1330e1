import { badInput, sessionNotFound } from '../../errors.ts';
import type { EventLog } from '../../events/event-log.ts';
import type { EventType, StoredEvent, StoredEventOf } from '../../events/event-payload.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import type { Caller } from '../caller.ts';
import { parseSessionId } from '../global-id/global-id.rules.ts';
import { findableAgentId } from '../session-key/session-key.rules.ts';
import { visibleAgents } from '../viewer/viewer.rules.ts';

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

/**
 * All events that match, from now on.
 * @throws DomainError BAD_USER_INPUT for lists that are too long, SERVICE_UNAVAILABLE
 */
export function streamEvents(caller: Caller, events: EventLog, filter: SessionEventFilter): Promise<AsyncIterableIterator<StoredEvent>> {
  const { sessionIds, agentIds, types, includeDescendants } = filter;
  assertLength(sessionIds, 'filter.sessionIds');
  assertLength(agentIds, 'filter.agentIds');
  return events.subscribe({
    sessionIds: sessionIds?.map(parseSessionId).filter(id => id !== null),
    agentIds: agentIds?.map(findableAgentId).filter(id => id !== null),
    types,
    includeDescendants: includeDescendants === true,
    visibleAgents: caller.viewer.agentIds,
  });
}

/**
 * Changes of status from now on: of one session, of one agent's sessions, of one session while it is that agent's, or of all.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, SERVICE_UNAVAILABLE
 */
export async function streamStatusChanges(
  caller: Caller,
  events: EventLog,
  { sessionId, agentId }: { readonly sessionId?: string | null; readonly agentId?: string | null },
): Promise<AsyncIterableIterator<StoredEventOf<'STATUS_CHANGED'>>> {
  const ids = sessionId == null ? null : [await existingSession(caller, sessionId)];
  return events.subscribe({
    sessionIds: ids,
    agentIds: agentId == null ? null : [findableAgentId(agentId) ?? ''],
    types: ['STATUS_CHANGED'],
    visibleAgents: caller.viewer.agentIds,
  });
}

/**
 * Messages added to a session from now on.
 * @param sessionId global id or UUID
 * @throws DomainError SESSION_NOT_FOUND, SERVICE_UNAVAILABLE
 */
export async function streamAddedMessages(
  caller: Caller,
  events: EventLog,
  sessionId: string,
): Promise<AsyncIterableIterator<StoredEventOf<'MESSAGE_ADDED'>>> {
  const id = await existingSession(caller, sessionId);
  return events.subscribe({ sessionIds: [id], types: ['MESSAGE_ADDED'], visibleAgents: caller.viewer.agentIds });
}

function assertLength(values: readonly string[] | null | undefined, field: string): void {
  if (values != null && values.length > MAX_FILTER_VALUES) throw badInput(field, `has more than ${MAX_FILTER_VALUES} values`);
}

async function existingSession(caller: Caller, sessionId: string): Promise<string> {
  const id = parseSessionId(sessionId);
  if (id === null) throw sessionNotFound(sessionId);
  const [found] = await caller.database.rows<{ id: string }>(Prisma.sql`select s.id from aria_engine.chat_sessions s
    where s.id = ${id}::uuid and ${visibleAgents(caller.viewer, Prisma.sql`s.agent_id`)}`);
  if (found === undefined) throw sessionNotFound(sessionId);
  return found.id;
}
