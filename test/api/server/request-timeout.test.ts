import { Client } from 'pg';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

let app: TestApp;
/** The same database, with little time for a request. */
let hasty: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  hasty = await app.startSecondServer({ env: { REQUEST_TIMEOUT: '1s' } });
});

async function newSession(): Promise<string> {
  const query = 'mutation { createSession(input: {}) { session { sessionId } } }';
  return (await app.gql<{ createSession: { session: { sessionId: string } } }>(query)).expectOk().createSession.session.sessionId;
}

async function messagesOf(sessionId: string): Promise<unknown> {
  const query = 'query ($id: ID!) { session(id: $id) { title messages { nodes { content } } } }';
  return (await app.gql<{ session: unknown }>(query, { id: sessionId })).expectOk().session;
}

/** Keeps all others from writing to the session; gives the function that lets them again. */
async function lock(sessionId: string): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: app.databaseUrl });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('begin');
  await client.query('select from aria_engine.chat_sessions where id = $1 for update', [sessionId]);
  return async () => void (await client.query('rollback'));
}

const SLOW_THEN_WRITE = `mutation ($locked: ID!, $other: ID!) {
  slow: updateSession(input: { id: $locked, title: "slow" }) { session { id } }
  write: appendMessage(input: { sessionId: $other, message: { role: USER, content: "too late" } }) { message { id } }
}`;

async function codeOverHttp(variables: Record<string, unknown>): Promise<unknown> {
  return (await hasty.gql(SLOW_THEN_WRITE, variables)).expectError('REQUEST_TIMEOUT').extensions.code;
}

async function codeOverWebSocket(variables: Record<string, unknown>): Promise<unknown> {
  const socket = await openAcknowledgedWebSocket(hasty.webSocketUrl);
  socket.send({ id: '1', type: 'subscribe', payload: { query: SLOW_THEN_WRITE, variables } });
  const { payload } = await socket.next();
  socket.close();
  return (payload as { errors: { extensions: { code: string } }[] }).errors[0]?.extensions.code;
}

describe.each([
  ['HTTP', codeOverHttp],
  ['WebSocket', codeOverWebSocket],
])('a mutation given up over %s', (_transport, codeOf) => {
  it('begins none of the fields that were still to come', async () => {
    const [locked, other] = [await newSession(), await newSession()];
    const unlock = await lock(locked);
    expect(await codeOf({ locked, other })).toBe('REQUEST_TIMEOUT');
    // The database ends what was under way.
    const { gauges } = hasty.app.database;
    await vi.waitUntil(() => gauges().idle === gauges().total, WAIT_OPTIONS);
    await unlock();
    // What would have been begun after the first field stands before this in the session.
    const honest = `mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "in time" } }) { message { id } } }`;
    (await app.gql(honest, { id: other })).expectOk();
    expect(await messagesOf(other)).toEqual({ title: 'in time', messages: { nodes: [{ content: 'in time' }] } });
    expect(await messagesOf(locked)).toEqual({ title: expect.not.stringContaining('slow'), messages: { nodes: [] } });
    expect(hasty.sql.filter(({ parameters }) => JSON.stringify(parameters).includes('too late'))).toEqual([]);
  });
});
