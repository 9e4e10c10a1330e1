import { Client } from 'pg';
import type { EventPayloads, EventType, StoredEvent } from '../../src/events/event-payload.ts';

/** One event to write; the rest is made up. */
export interface WrittenEvent<Type extends EventType = EventType> {
  readonly sessionId: string;
  readonly agentId?: string;
  readonly type?: Type;
  readonly payload?: EventPayloads[Type];
}

/** A connection that writes to the log as services do: rows without `seq`. */
export interface EventWriter {
  readonly client: Client;
  /** Writes one event, in the transaction under way if there is one; gives its id. */
  write(event: WrittenEvent): Promise<bigint>;
  /** Writes many in one statement; gives their ids in that order. */
  writeMany(sessionIds: readonly string[]): Promise<readonly bigint[]>;
  /** Inserts a session without any event. */
  createSession(id: string, parentId?: string): Promise<void>;
}

/** Connects a writer. */
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

/** The next `number` events of a stream. */
export async function take(stream: AsyncIterator<StoredEvent>, number: number): Promise<readonly StoredEvent[]> {
  const events: StoredEvent[] = [];
  while (events.length < number) {
    const result = await stream.next();
    if (result.done === true) throw new Error(`The stream ended after ${events.length} of ${number} events.`);
    events.push(result.value);
  }
  return events;
}

/** The whole log in its order, from the table. */
export async function wholeLog(client: Client): Promise<readonly { seq: bigint; id: bigint; sessionId: string }[]> {
  const { rows } = await client.query<{ seq: string; id: string; session_id: string }>(
    'select seq, id, session_id from aria_engine.session_events where seq is not null order by seq',
  );
  return rows.map(row => ({ seq: BigInt(row.seq), id: BigInt(row.id), sessionId: row.session_id }));
}
