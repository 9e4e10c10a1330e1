import { beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { openRawWebSocket, type RawWebSocket } from '../../support/raw-websocket.ts';
import { runSql } from '../../support/sql.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';
import { makeKey, type TestKey } from './keys.ts';

const EVENTS = 'subscription { sessionEvents { sessionId } }';
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } } }';

let app: TestApp;
let other: TestApp;
let admin: TestKey;
beforeAll(async () => {
  app = await startTestApp();
  other = await app.startSecondServer();
  admin = await makeKey(app, { scope: 'ADMIN' });
  // The other server learns of the first key a moment later.
  await vi.waitUntil(() => ![app, other].some(server => server.app.isOpen()), WAIT_OPTIONS);
});

async function openSocket(server: TestApp, { secret }: TestKey): Promise<RawWebSocket> {
  const socket = await openRawWebSocket(server.webSocketUrl);
  socket.send({ type: 'connection_init', payload: { authorization: `Bearer ${secret}` } });
  expect(await socket.next()).toEqual({ type: 'connection_ack' });
  return socket;
}

/** Opens a subscription over SSE and a WebSocket with the key on each server. */
async function openConnections(key: TestKey) {
  const authorization = key.headers.authorization;
  const streams = await Promise.all([app, other].map(server => server.subscribe(EVENTS, undefined, { over: 'sse', authorization })));
  return { streams, sockets: await Promise.all([openSocket(app, key), openSocket(other, key)]) };
}

async function expectClosed({ streams, sockets }: Awaited<ReturnType<typeof openConnections>>, message: string): Promise<void> {
  for (const stream of streams) {
    expect(await stream.nextResult()).toMatchObject({ errors: [{ message, extensions: { code: 'FORBIDDEN' } }] });
    expect(await stream.nextResult()).toBeNull();
  }
  for (const socket of sockets) expect(await socket.closed).toEqual({ code: 4403, reason: 'FORBIDDEN' });
}

const viewerOf = (server: TestApp, key: TestKey) => server.gql('{ viewer { name } }', undefined, { headers: key.headers });

// test/soak/ended-access.test.ts measures how soon access ends.
describe('an API key that is revoked', () => {
  it('gets UNAUTHORIZED and loses its open connections on every server', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const connections = await openConnections(key);
    (await app.gql(REVOKE, { id: key.id }, { headers: admin.headers })).expectOk();
    await expectClosed(connections, 'The API key was revoked.');
    for (const server of [app, other]) (await viewerOf(server, key)).expectError('UNAUTHORIZED');
  });

  it('loses its open connections even without a notification, if its row is deleted by SQL', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const connections = await openConnections(key);
    await runSql(app.databaseUrl, `delete from aria_engine.api_keys where prefix = '${key.secret.slice(0, 11)}'`);
    await expectClosed(connections, 'The API key was revoked.');
  });

  it('does not affect the connections of other keys', async () => {
    const [one, two] = [await makeKey(app, { scope: 'READ', by: admin.secret }), await makeKey(app, { scope: 'WRITE', by: admin.secret })];
    const stream = await app.subscribe(EVENTS, undefined, { authorization: two.headers.authorization });
    (await app.gql(REVOKE, { id: one.id }, { headers: admin.headers })).expectOk();
    await expect.poll(async () => (await viewerOf(app, one)).errors?.[0]?.extensions.code).toBe('UNAUTHORIZED');
    (await app.gql('mutation { createSession(input: {}) { created } }', undefined, { headers: two.headers })).expectOk();
    expect(await stream.next()).toMatchObject({ sessionEvents: { sessionId: expect.any(String) } });
    await stream.close();
  });
});

describe('an API key that expires', () => {
  it('gets UNAUTHORIZED and loses its open connections on every server', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret, expiresAt: new Date(Date.now() + 3_600_000) });
    const connections = await openConnections(key);
    // Expire the key by SQL, so that it is valid for as long as the connections take to open.
    await runSql(app.databaseUrl, `update aria_engine.api_keys set expires_at = now() where prefix = '${key.secret.slice(0, 11)}'`);
    await expectClosed(connections, 'The API key has expired.');
    (await viewerOf(app, key)).expectError('UNAUTHORIZED');
  });
});

describe('a subscription over a WebSocket whose key is revoked', () => {
  it('is released when the server closes the socket', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const socket = await openSocket(app, key);
    const openSubscriptions = () => app.app.events.gauges().subscriptions;
    await expect.poll(openSubscriptions).toBe(0);
    socket.send({ type: 'subscribe', id: '1', payload: { query: EVENTS } });
    await expect.poll(openSubscriptions).toBe(1);
    (await app.gql(REVOKE, { id: key.id }, { headers: admin.headers })).expectOk();
    expect(await socket.closed).toEqual({ code: 4403, reason: 'FORBIDDEN' });
    await expect.poll(openSubscriptions).toBe(0);
  });
});

describe('an API key in use', () => {
  it('needs no SQL statement and updates lastUsedAt at most once a minute', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const lastUsed = async () => {
      const { data } = await app.gql<{ node: { lastUsedAt: string | null } }>(
        'query ($id: ID!) { node(id: $id) { ... on ApiKey { lastUsedAt } } }',
        { id: key.id },
        { headers: admin.headers },
      );
      return data?.node.lastUsedAt ?? null;
    };
    expect(await lastUsed()).toBeNull();
    const answers = await Promise.all(Array.from({ length: 50 }, () => viewerOf(app, key)));
    expect(answers.map(answer => answer.status)).toEqual(Array.from({ length: 50 }, () => 200));
    expect(answers.flatMap(answer => answer.sql)).toEqual([]);
    await expect.poll(lastUsed).not.toBeNull();
    const first = await lastUsed();
    await viewerOf(app, key);
    await expect.poll(async () => (await viewerOf(other, key)).status).toBe(200);
    expect(await lastUsed()).toBe(first);
  });

  it('is refused as soon as it is revoked, and never accepted with another secret of the same prefix', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    for (let request = 0; request < 3; request += 1) (await viewerOf(app, key)).expectOk();
    const similar = `${key.secret.slice(0, -1)}${key.secret.endsWith('x') ? 'y' : 'x'}`;
    const forged = { headers: { authorization: `Bearer ${similar}` } };
    (await app.gql('{ viewer { name } }', undefined, forged)).expectError('UNAUTHORIZED');
    (await app.gql(REVOKE, { id: key.id }, { headers: admin.headers })).expectOk();
    await expect.poll(async () => (await viewerOf(app, key)).errors?.[0]?.extensions?.code).toBe('UNAUTHORIZED');
    (await app.gql('{ viewer { name } }', undefined, forged)).expectError('UNAUTHORIZED');
  });

  it('is accepted during a flood of requests with unknown keys', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const wrong = Array.from({ length: 200 }, (_, index) => ({
      headers: { authorization: `Bearer sg_${String(index).padStart(43, 'x')}` },
    }));
    const flood = wrong.map(({ headers }) => app.gql('{ viewer { name } }', undefined, { headers }));
    (await viewerOf(app, key)).expectOk();
    for (const answer of await Promise.all(flood)) answer.expectError('UNAUTHORIZED');
  });
});
