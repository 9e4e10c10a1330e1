import type { TypedEvent } from '../../events/event-types.ts';
import { insertEvents } from '../../events/event-write.ts';
import { statusChange } from '../../modules/session-mutation/session-lock.service.ts';
import type { Executor } from '../../postgres/database.ts';
import type { ImportedSession } from './session-row.ts';

/** Writes events of a session, in this order. The caller has locked the session. */
export async function writeEvents(transaction: Executor, session: ImportedSession, events: readonly TypedEvent[]): Promise<void> {
  if (events.length > 0) await transaction.rows(insertEvents(session.id, session.agentId, events));
}

/** What an UPDATED event calls a change of these columns. Without new messages no other event says that they changed. */
const COUNTERS = [
  { name: 'lastActivityAt', fields: ['lastActivityAt'] },
  { name: 'lastMessageAt', fields: ['lastMessageAt'] },
  { name: 'messages', fields: ['leafPosition', 'compactedThrough'] },
  { name: 'usage', fields: ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens', 'costNanoUsd'] },
] as const;

/** GraphQL names of counters and times that changed, and of `messages` if other messages than before are in the active view. */
export function changedCounters(from: ImportedSession, to: ImportedSession): readonly string[] {
  return COUNTERS.filter(({ fields }) => fields.some(field => from[field]?.valueOf() !== to[field]?.valueOf())).map(({ name }) => name);
}

/** The event for a change of status, status reason or end. */
export function statusChanged(from: ImportedSession, to: ImportedSession, now: Date): TypedEvent {
  const before = {
    status: from.status,
    inputTokens: Number(to.inputTokens),
    outputTokens: Number(to.outputTokens),
    cacheReadTokens: Number(to.cacheReadTokens),
    cacheWriteTokens: Number(to.cacheWriteTokens),
    totalTokens: Number(to.totalTokens),
    costNanoUsd: Number(to.costNanoUsd),
    idleMs: Math.max(0, now.getTime() - from.lastActivityAt.getTime()),
  };
  return { type: 'STATUS_CHANGED', payload: statusChange(before, to.status, to.statusReason) };
}
