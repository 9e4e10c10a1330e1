import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

/** What others write meanwhile. */
const EARLY = 60;

const EVENTS = 'subscription($after: String) { sessionEvents(after: $after) { cursor sessionId } }';
const OF_SESSION =
  'query($id: ID!, $after: String) { session(id: $id) { events(first: 500, after: $after) { nodes { cursor sessionId } } } }';
const APPEND =
  'mutation($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "early" } }) { message { position } } }';

interface Told {
  readonly cursor: string;
  readonly sessionId: string;
}

type Stream = Awaited<ReturnType<typeof app.subscribe<{ sessionEvents: Told }>>>;

let app: TestApp;
let other: TestApp;
let elsewhere: TestDatabase;
const connections: pg.Client[] = [];

beforeAll(async () => {
  app = await startTestApp();
  [other, elsewhere] = await Promise.all([app.startSecondServer(), createTestDatabase()]);
});

afterAll(async () => {
  await Promise.all(connections.map(connection => connection.end()));
  await elsewhere.close();
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

/** Begins a transaction and writes events in it, under the session's lock, as a service does. */
async function writeAndHold(sessionId: string, number: number): Promise<pg.Client> {
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

/** How many events behind the creation of sessions were written by transactions older than all under way, and how many by others. */
async function belowHorizon(connection: pg.Client): Promise<{ below: number; beyond: number } | undefined> {
  const { rows } = await connection.query<{ below: number; beyond: number }>(
    `select (count(*) filter (where older))::int as below, (count(*) filter (where not older))::int as beyond
     from (select xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint & 4294967295 as older
       from aria_engine.session_events where type <> 'CREATED') event`,
  );
  return rows[0];
}

async function take(stream: Stream, number: number): Promise<Told[]> {
  const told: Told[] = [];
  while (told.length < number) told.push((await stream.next()).sessionEvents);
  return told;
}

describe('transactions held open that commit late and out of order', () => {
  it('lose nothing and delay nobody, with others open in another database and with a snapshot and a number in this one', async () => {
    const sessions = await Promise.all(Array.from({ length: 6 }, createSession));
    const [first = '', second = '', third = '', ...busy] = sessions;
    const [foreign, idle, reader] = await Promise.all([connect(elsewhere.url), connect(app.databaseUrl), connect(app.databaseUrl)]);
    await foreign.query('begin; select pg_current_xact_id()');
    await idle.query(
      'begin isolation level repeatable read; select pg_current_xact_id(), (select count(*) from aria_engine.session_events)',
    );
    // Their events have their ids before all that follows.
    const held = [await writeAndHold(first, 1), await writeAndHold(second, 2), await writeAndHold(third, 3)];

    const streams: Stream[] = [];
    for (const server of [app, other])
      for (const over of ['ws', 'sse'] as const) streams.push(await server.subscribe(EVENTS, {}, { over }));
    for (let number = 0; number < EARLY; number += 1) {
      const id = busy[number % busy.length];
      (await (number % 2 === 0 ? app : other).gql(APPEND, { id })).expectOk();
    }
    const seen = await Promise.all(streams.map(stream => take(stream, EARLY)));
    for (const told of seen) expect(new Set(told.map(({ sessionId }) => sessionId))).toEqual(new Set(busy));

    for (const [late, number] of [
      [2, 3],
      [0, 1],
      [1, 2],
    ] as const) {
      await held[late]?.query('commit');
      for (const [index, stream] of streams.entries()) {
        const told = await take(stream, number);
        expect(told.map(({ sessionId }) => sessionId)).toEqual(told.map(() => sessions[late]));
        seen[index]?.push(...told);
      }
    }

    const { rows } = await reader.query<{ seq: string; id: string; sessionId: string }>(
      'select seq, id, session_id as "sessionId" from aria_engine.session_events order by seq',
    );
    expect(rows.map(({ seq }) => seq)).toEqual(rows.map((_, index) => String(index + 1)));
    const log = rows.map(({ seq, sessionId }) => ({ cursor: encodeEventCursor(BigInt(seq)), sessionId }));
    for (const told of seen) expect(told).toEqual(log.slice(sessions.length));
    // The order of the log is not that of the writes, but for each session it is.
    expect(rows.map(({ id }) => Number(id))).not.toEqual(rows.map(({ id }) => Number(id)).sort((a, b) => a - b));
    for (const id of sessions) {
      const ids = rows.filter(({ sessionId }) => sessionId === id).map(row => Number(row.id));
      expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    }

    const resumed = await other.subscribe<{ sessionEvents: Told }>(EVENTS, { after: encodeEventCursor(0n) });
    expect(await take(resumed, log.length)).toEqual(log);
    for (const id of sessions) {
      for (const server of [app, other]) {
        const read = async (after: string | null) =>
          (await server.gql<{ session: { events: { nodes: Told[] } } }>(OF_SESSION, { id, after })).expectOk().session.events.nodes;
        const own = log.filter(({ sessionId }) => sessionId === id);
        expect(await read(null)).toEqual(own);
        expect(await read(own[0]?.cursor ?? null)).toEqual(own.slice(1));
      }
    }
    // A reader that stops at the oldest transaction under way, wherever it is, would not have one of them yet: not for the one in this database,
    // and without it not for the one in the other.
    expect(await belowHorizon(reader)).toEqual({ below: 0, beyond: log.length - sessions.length });
    await idle.query('commit');
    expect(await belowHorizon(reader)).toEqual({ below: 0, beyond: log.length - sessions.length });
    await Promise.all([resumed, ...streams].map(stream => stream.close()));
  }, 180_000);
});
