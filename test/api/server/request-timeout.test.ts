import { Client } from 'pg';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

let app: TestApp;
/** A second server on the same database with a REQUEST_TIMEOUT of one second. */
let shortTimeoutApp: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  shortTimeoutApp = await app.startSecondServer({ env: { REQUEST_TIMEOUT: '1s' } });
});

async function createSession(): Promise<string> {
  const query = 'mutation { createSession(input: {}) { session { sessionId } } }';
  return (await app.gql<{ createSession: { session: { sessionId: string } } }>(query)).expectOk().createSession.session.sessionId;
}

async function messagesOf(sessionId: string): Promise<unknown> {
  const query = 'query ($id: ID!) { session(id: $id) { title messages { nodes { content } } } }';
  return (await app.gql<{ session: unknown }>(query, { id: sessionId })).expectOk().session;
}

/** Locks the session's row in a separate transaction. Returns the function that releases the lock. */
async function lockSession(sessionId: string): Promise<() => Promise<void>> {
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
  return (await shortTimeoutApp.gql(SLOW_THEN_WRITE, variables)).expectError('REQUEST_TIMEOUT').extensions.code;
}

async function codeOverWebSocket(variables: Record<string, unknown>): Promise<unknown> {
  const socket = await openAcknowledgedWebSocket(shortTimeoutApp.webSocketUrl);
  socket.send({ id: '1', type: 'subscribe', payload: { query: SLOW_THEN_WRITE, variables } });
  const { payload } = await socket.next();
  socket.close();
  return (payload as { errors: { extensions: { code: string } }[] }).errors[0]?.extensions.code;
}

describe.each([
  ['HTTP', codeOverHttp],
  ['WebSocket', codeOverWebSocket],
])('a mutation over %s that exceeds REQUEST_TIMEOUT', (_transport, codeOf) => {
  it('does not execute its remaining fields', async () => {
    const [locked, other] = [await createSession(), await createSession()];
    const unlock = await lockSession(locked);
    expect(await codeOf({ locked, other })).toBe('REQUEST_TIMEOUT');
    // Wait until Postgres has cancelled the running statement.
    const { gauges } = shortTimeoutApp.app.database;
    await vi.waitUntil(() => gauges().idle === gauges().total, WAIT_OPTIONS);
    await unlock();
    // If the second field had been executed, its message would precede this one.
    const appendInTime = `mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "in time" } }) { message { id } } }`;
    (await app.gql(appendInTime, { id: other })).expectOk();
    expect(await messagesOf(other)).toEqual({ title: 'in time', messages: { nodes: [{ content: 'in time' }] } });
    expect(await messagesOf(locked)).toEqual({ title: expect.not.stringContaining('slow'), messages: { nodes: [] } });
    expect(shortTimeoutApp.sql.filter(({ parameters }) => JSON.stringify(parameters).includes('too late'))).toEqual([]);
  });
});
