import { Prisma } from '../generated/prisma/client.ts';
import type { Sql } from '../postgres/database.ts';
import type { TypedEvent } from './event-types.ts';

/**
 * An INSERT that writes events of one session, in this order. Use it as a CTE of the statement that makes the change.
 * Postgres draws the event ids in this INSERT, so the session must already be locked: then its events are in the order of its changes.
 * @param condition the INSERT writes nothing if this is false
 */
export function insertEvents(sessionId: string, agentId: string, events: readonly TypedEvent[], condition: Sql = Prisma.sql`true`): Sql {
  const types = events.map(event => event.type);
  const payloads = events.map(event => JSON.stringify(event.payload));
  return Prisma.sql`insert into aria_engine.session_events (session_id, agent_id, type, payload)
    select ${sessionId}::uuid, ${agentId}, event.type, event.payload::jsonb
    from unnest(${types}::aria_engine.session_event_type[], ${payloads}::text[]) with ordinality event(type, payload, place)
    where ${condition} order by event.place`;
}
