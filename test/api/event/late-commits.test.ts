import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

/** The number of messages appended while the older transactions are still open. */
const EARLY_MESSAGES = 60;

const EVENTS = 'subscription($after: String) { sessionEvents(after: $after) { cursor sessionId } }';
const OF_SESSION =
  'query($id: ID!, $after: String) { session(id: $id) { events(first: 500, after: $after) { nodes { cursor sessionId } } } }';
const APPEND =
  'mutation($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "early" } }) { message { position } } }';

interface EventData {
  readonly cursor: string;
  readonly sessionId: string;
}

type Stream = Awaited<ReturnType<typeof app.subscribe<{ sessionEvents: EventData }>>>;

let app: TestApp;
let other: TestApp;
let otherDatabase: TestDatabase;
const connections: pg.Client[] = [];

beforeAll(async () => {
  app = await startTestApp();
  [other, otherDatabase] = await Promise.all([app.startSecondServer(), createTestDatabase()]);
});

afterAll(async () => {
  await Promise.all(connections.map(connection => connection.end()));
  await otherDatabase.close();
});

async function connect(url: string): Promise<pg.Client> {
  const connection = new pg.Client(url);
  await connection.connect();
  connections.push(connection);
  return connection;
}

async function createSession(): Promise<string> {
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation { createSession(input: {}) { session { sessionId } } }',
  );
  return created.expectOk().createSession.session.sessionId;
}

/** Writes events under the session's lock, as a service does, in a transaction that it leaves open. */
async function writeUncommitted(sessionId: string, number: number): Promise<pg.Client> {
  const connection = await connect(app.databaseUrl);
  await connection.query('begin');
  await connection.query('select from aria_engine.chat_sessions where id = $1 for no key update', [sessionId]);
  await connection.query(
    `insert into aria_engine.session_events (session_id, agent_id, type, payload)
     select $1, 'main', 'UPDATED', '{"changed":["title"]}' from generate_series(1, $2::int)`,
    [sessionId, number],
  );
  return connection;
}

/** Counts the events other than CREATED: those of transactions older than every open transaction (`below`), and the others (`beyond`). */
async function countByHorizon(connection: pg.Client): Promise<{ below: number; beyond: number } | undefined> {
  const { rows } = await connection.query<{ below: number; beyond: number }>(
    `select (count(*) filter (where older))::int as below, (count(*) filter (where not older))::int as beyond
     from (select xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint & 4294967295 as older
       from aria_engine.session_events where type <> 'CREATED') event`,
  );
  return rows[0];
}

async function take(stream: Stream, number: number): Promise<EventData[]> {
  const events: EventData[] = [];
  while (events.length < number) events.push((await stream.next()).sessionEvents);
  return events;
}

describe('sessionEvents and Session.events when transactions commit late and out of order', () => {
  it('lose no event and do not wait for open transactions, in this database or in another one', async () => {
    const sessions = await Promise.all(Array.from({ length: 6 }, createSession));
    const [first = '', second = '', third = '', ...busy] = sessions;
    const [foreign, idle, reader] = await Promise.all([connect(otherDatabase.url), connect(app.databaseUrl), connect(app.databaseUrl)]);
    await foreign.query('begin; select pg_current_xact_id()');
    await idle.query(
      'begin isolation level repeatable read; select pg_current_xact_id(), (select count(*) from aria_engine.session_events)',
    );
    // The ids of these events are lower than those of all later events.
    const uncommitted = [await writeUncommitted(first, 1), await writeUncommitted(second, 2), await writeUncommitted(third, 3)];

    const streams: Stream[] = [];
    for (const server of [app, other])
      for (const over of ['ws', 'sse'] as const) streams.push(await server.subscribe(EVENTS, {}, { over }));
    for (let number = 0; number < EARLY_MESSAGES; number += 1) {
      const id = busy[number % busy.length];
      (await (number % 2 === 0 ? app : other).gql(APPEND, { id })).expectOk();
    }
    const received = await Promise.all(streams.map(stream => take(stream, EARLY_MESSAGES)));
    for (const events of received) expect(new Set(events.map(({ sessionId }) => sessionId))).toEqual(new Set(busy));

    for (const [late, number] of [
      [2, 3],
      [0, 1],
      [1, 2],
    ] as const) {
      await uncommitted[late]?.query('commit');
      for (const [index, stream] of streams.entries()) {
        const events = await take(stream, number);
        expect(events.map(({ sessionId }) => sessionId)).toEqual(events.map(() => sessions[late]));
        received[index]?.push(...events);
      }
    }

    const { rows } = await reader.query<{ seq: string; id: string; sessionId: string }>(
      'select seq, id, session_id as "sessionId" from aria_engine.session_events order by seq',
    );
    expect(rows.map(({ seq }) => seq)).toEqual(rows.map((_, index) => String(index + 1)));
    const log = rows.map(({ seq, sessionId }) => ({ cursor: encodeEventCursor(BigInt(seq)), sessionId }));
    for (const events of received) expect(events).toEqual(log.slice(sessions.length));
    // The log orders the events of each session as they were written, but not those of different sessions.
    expect(rows.map(({ id }) => Number(id))).not.toEqual(rows.map(({ id }) => Number(id)).sort((a, b) => a - b));
    for (const id of sessions) {
      const ids = rows.filter(({ sessionId }) => sessionId === id).map(row => Number(row.id));
      expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    }

    const resumed = await other.subscribe<{ sessionEvents: EventData }>(EVENTS, { after: encodeEventCursor(0n) });
    expect(await take(resumed, log.length)).toEqual(log);
    for (const id of sessions) {
      for (const server of [app, other]) {
        const read = async (after: string | null) =>
          (await server.gql<{ session: { events: { nodes: EventData[] } } }>(OF_SESSION, { id, after })).expectOk().session.events.nodes;
        const own = log.filter(({ sessionId }) => sessionId === id);
        expect(await read(null)).toEqual(own);
        expect(await read(own[0]?.cursor ?? null)).toEqual(own.slice(1));
      }
    }
    // A reader that stops at the oldest open transaction (its `xmin`) would have no event yet: first because of the transaction in this
    // database, then because of the one in the other database.
    expect(await countByHorizon(reader)).toEqual({ below: 0, beyond: log.length - sessions.length });
    await idle.query('commit');
    expect(await countByHorizon(reader)).toEqual({ below: 0, beyond: log.length - sessions.length });
    await Promise.all([resumed, ...streams].map(stream => stream.close()));
  }, 180_000);
});
