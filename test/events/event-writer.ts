import { Client } from 'pg';
import type { EventPayload, EventType } from '../../src/events/event-types.ts';
import type { StoredEvent } from '../../src/events/stored-event.ts';

/** One event to write. Fields that are left out get default values. */
export interface WrittenEvent<Type extends EventType = EventType> {
  readonly sessionId: string;
  readonly agentId?: string;
  readonly type?: Type;
  readonly payload?: EventPayload<Type>;
}

/** A connection that inserts events as the services do: rows without `seq`. */
export interface EventWriter {
  readonly client: Client;
  /** Inserts one event, in the connection's open transaction if there is one. Returns its id. */
  write(event: WrittenEvent): Promise<bigint>;
  /** Inserts one event per session in one statement. Returns their ids in the same order. */
  writeMany(sessionIds: readonly string[]): Promise<readonly bigint[]>;
  /** Inserts a session without writing an event. */
  createSession(id: string, parentId?: string): Promise<void>;
}

/** Opens the connection of an event writer. */
export async function openWriter(url: string): Promise<EventWriter> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return {
    client,
    async write({ sessionId, agentId = 'main', type = 'MESSAGE_ADDED', payload = { messageId: sessionId, position: 1 } }) {
      const { rows } = await client.query<{ id: string }>(
        'insert into aria_engine.session_events (session_id, agent_id, type, payload) values ($1, $2, $3, $4) returning id',
        [sessionId, agentId, type, payload],
      );
      return BigInt(rows[0]?.id ?? 0);
    },
    async writeMany(sessionIds) {
      const { rows } = await client.query<{ id: string }>(
        `insert into aria_engine.session_events (session_id, agent_id, type, payload)
        select id, 'main', 'MESSAGE_ADDED', '{"messageId":"m","position":1}' from unnest($1::uuid[]) id returning id`,
        [sessionIds],
      );
      return rows.map(row => BigInt(row.id));
    },
    async createSession(id, parentId) {
      await client.query(
        "insert into aria_engine.chat_sessions (id, agent_id, kind, title, parent_id) values ($1, 'main', 'OTHER', 't', $2)",
        [id, parentId],
      );
    },
  };
}

/** Reads the next `number` events of a stream. */
export async function takeEvents(stream: AsyncIterator<StoredEvent>, number: number): Promise<readonly StoredEvent[]> {
  const events: StoredEvent[] = [];
  while (events.length < number) {
    const result = await stream.next();
    if (result.done === true) throw new Error(`The stream ended after ${events.length} of ${number} events.`);
    events.push(result.value);
  }
  return events;
}

/** Reads all sequenced events from the table, in log order. */
export async function readEventTable(client: Client): Promise<readonly { seq: bigint; id: bigint; sessionId: string }[]> {
  const { rows } = await client.query<{ seq: string; id: string; session_id: string }>(
    'select seq, id, session_id from aria_engine.session_events where seq is not null order by seq',
  );
  return rows.map(row => ({ seq: BigInt(row.seq), id: BigInt(row.id), sessionId: row.session_id }));
}
