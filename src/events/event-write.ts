import { Prisma } from '../generated/prisma/client.ts';
import type { Sql } from '../postgres/database.ts';

/** An event to be written with the change it tells of; payloads are described in event-payload.ts. */
export interface EventToWrite {
  readonly type: 'CREATED' | 'UPDATED' | 'STATUS_CHANGED' | 'DELETED' | 'RESTORED' | 'MESSAGE_ADDED' | 'MESSAGE_DELETED';
  readonly payload: object;
}

/**
 * The INSERT that writes events of one session in this order, to be used as a CTE of the change's own statement.
 * Ids are drawn here: the session must be locked by then, so that its events have the order of its changes.
 * @param condition what must hold for them to be written at all
 */
export function insertEvents(sessionId: string, agentId: string, events: readonly EventToWrite[], condition: Sql = Prisma.sql`true`): Sql {
  const types = events.map(event => event.type);
  const payloads = events.map(event => JSON.stringify(event.payload));
  return Prisma.sql`insert into aria_engine.session_events (session_id, agent_id, type, payload)
    select ${sessionId}::uuid, ${agentId}, event.type, event.payload::jsonb
    from unnest(${types}::aria_engine.session_event_type[], ${payloads}::text[]) with ordinality event(type, payload, place)
    where ${condition} order by event.place`;
}
