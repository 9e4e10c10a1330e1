import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { parse } from 'graphql';
import { pino } from 'pino';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { LOCAL_VIEWER, type Viewer } from '../../../src/modules/viewer/viewer.rules.ts';
import { rateChargeOf } from '../../../src/server/auth/rate-charge.ts';
import { createRateLimiter, type RateLimiter } from '../../../src/server/auth/rate-limiter.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { post } from '../../support/http-client.ts';
import { openRawWebSocket } from '../../support/raw-websocket.ts';
import { TEST_WAIT_MS, WAIT_OPTIONS } from '../../support/wait-time.ts';

const ENV = { RATE_LIMIT_REQUESTS: '5', RATE_LIMIT_WRITES: '3', RATE_LIMIT_CREATIONS: '2', RATE_LIMIT_MANAGEMENT: '20' };
const INFO = '{ serverInfo { version } }';
const CREATE = 'createSession(input: {}) { created }';
const REDIS_URL = 'redis://127.0.0.1:6379';

async function isRedisRunning(): Promise<boolean> {
  const socket = connect(6379, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    process.stdout.write(`Skipped the test of rate limits shared through Redis: no Redis runs at ${REDIS_URL}.\n`);
    return false;
  } finally {
    socket.destroy();
  }
}

const hasRedis = await isRedisRunning();

let app: TestApp;
let admin: Record<string, string>;
beforeAll(async () => {
  app = await startTestApp({ env: ENV });
  admin = await newKey(null);
  await vi.waitUntil(() => !app.app.isOpen(), WAIT_OPTIONS);
});

/** Creates a key and returns its request headers. The first key is created without authentication (`by` null). */
async function newKey(by: Record<string, string> | null, rateLimits?: Record<string, number>): Promise<Record<string, string>> {
  const query = 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }';
  const input = { name: 'limited', scopes: ['ADMIN'], rateLimits };
  const answer = await app.gql<{ createApiKey: { secret: string } }>(query, { input }, { headers: by ?? {} });
  return { authorization: `Bearer ${answer.expectOk().createApiKey.secret}` };
}

async function codesOf(count: number, query: string, headers: Record<string, string>): Promise<(string | undefined)[]> {
  const codes: (string | undefined)[] = [];
  for (let i = 0; i < count; i += 1) codes.push((await post(app.url, { query }, headers)).body.errors?.[0]?.extensions.code);
  return codes;
}

const RATE_LIMITED = 'RATE_LIMIT_EXCEEDED';

describe('rateChargeOf', () => {
  const chargeOf = (query: string) => {
    const document = parse(query);
    const operation = document.definitions.find(node => node.kind === 'OperationDefinition');
    if (operation === undefined) throw new Error('The document has no operation.');
    return rateChargeOf(document, operation);
  };

  it.each([
    ['{ a b c }', { requests: 1 }],
    ['subscription { sessionEvents { __typename } }', { requests: 1 }],
    ['mutation { updateSession { a } }', { requests: 1 }],
    ['mutation { a: appendMessage { a } b: appendMessages { a } c: appendMessages { a } }', { writes: 3 }],
    ['mutation { createSession { a } deleteSession { a } appendMessage { a } }', { creations: 1, management: 1, writes: 1 }],
    [
      'mutation { ...f ...f ... { a: deleteSession { a } } } fragment f on Mutation { createSession { a } }',
      { creations: 1, management: 1 },
    ],
  ])('charges %s with %j', (query, charge) => {
    expect(chargeOf(query)).toEqual(charge);
  });
});

describe('rate limits over HTTP', () => {
  it('return RATE_LIMIT_EXCEEDED with headers beyond the limit, only to the caller that exceeded it', async () => {
    const [first, second] = [await newKey(admin), await newKey(admin)];
    const answer = await post(app.url, { query: INFO }, first);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'ratelimit-limit': '5',
      'ratelimit-remaining': '4',
      'ratelimit-policy': '5;w=60;name="requests"',
    });
    expect(await codesOf(4, INFO, first)).toEqual(Array(4).fill(undefined));
    app.resetSql();
    const { status, headers, body } = await post(app.url, { query: INFO }, first);
    const [error] = body.errors ?? [];
    expect([status, error?.extensions.code, error?.extensions.retryable, body.data]).toEqual([429, RATE_LIMITED, true, undefined]);
    const { retryAfterMs } = error?.extensions.details ?? {};
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect(headers.get('ratelimit-remaining')).toBe('0');
    expect((await post(app.url, { query: INFO }, second)).status).toBe(200);
  });

  it('count each mutation field once in its class and do not count a rejected operation', async () => {
    const key = await newKey(admin);
    expect(await codesOf(1, `mutation { a: ${CREATE} b: ${CREATE} c: ${CREATE} }`, key)).toEqual([RATE_LIMITED]);
    expect(await codesOf(2, `mutation { ${CREATE} }`, key)).toEqual([undefined, undefined]);
    expect(await codesOf(1, `mutation { ${CREATE} }`, key)).toEqual([RATE_LIMITED]);
    expect(await codesOf(1, INFO, key)).toEqual([undefined]);
    const { body } = await post(app.url, { query: '{ viewer { rateLimits { name limit remaining resetAt } } }' }, key);
    expect(body.data?.viewer).toEqual({
      rateLimits: [
        { name: 'requests', limit: 5, remaining: 3, resetAt: expect.any(String) },
        { name: 'writes', limit: 3, remaining: 3, resetAt: expect.any(String) },
        { name: 'creations', limit: 2, remaining: 0, resetAt: expect.any(String) },
        { name: 'management', limit: 20, remaining: 20, resetAt: expect.any(String) },
      ],
    });
  });
});

describe('the rate limits of one key', () => {
  it('override those of the server; 0 means unlimited', async () => {
    const key = await newKey(admin, { requests: 2, creations: 0 });
    expect(await codesOf(5, `mutation { ${CREATE} }`, key)).toEqual(Array(5).fill(undefined));
    const { body } = await post(app.url, { query: '{ viewer { rateLimits { name limit remaining } } }' }, key);
    expect(body.data?.viewer).toEqual({
      rateLimits: [
        { name: 'requests', limit: 2, remaining: 1 },
        { name: 'writes', limit: 3, remaining: 3 },
        { name: 'management', limit: 20, remaining: 20 },
      ],
    });
    expect(await codesOf(2, INFO, key)).toEqual([undefined, RATE_LIMITED]);
  });

  it('are rejected when negative', async () => {
    await expect(newKey(admin, { writes: -1 })).rejects.toThrow('input.rateLimits.writes');
  });
});

describe('rate limits over WebSocket and SSE', () => {
  it('count queries and subscriptions together with requests over HTTP', async () => {
    const key = await newKey(admin);
    expect(await codesOf(3, INFO, key)).toEqual(Array(3).fill(undefined));
    const stream = await fetch(app.url, {
      method: 'POST',
      headers: { ...key, 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: 'subscription { sessionEvents { __typename } }' }),
    });
    expect([stream.status, stream.headers.get('ratelimit-remaining')]).toEqual([200, '1']);
    await stream.body?.cancel();
    const socket = await openRawWebSocket(app.webSocketUrl);
    socket.send({ type: 'connection_init', payload: key });
    expect(await socket.next()).toMatchObject({ type: 'connection_ack' });
    const send = (id: string, query: string) => socket.send({ id, type: 'subscribe', payload: { query } });
    send('1', INFO);
    expect(await socket.next()).toMatchObject({ id: '1', type: 'next', payload: { data: { serverInfo: {} } } });
    expect(await socket.next()).toMatchObject({ id: '1', type: 'complete' });
    for (const query of [INFO, 'subscription { sessionEvents { __typename } }']) {
      send(query, query);
      expect(await socket.next()).toMatchObject({ id: query, type: 'next', payload: { errors: [{ extensions: { code: RATE_LIMITED } }] } });
      expect(await socket.next()).toMatchObject({ id: query, type: 'complete' });
    }
    socket.close();
    expect(await codesOf(1, INFO, key)).toEqual([RATE_LIMITED]);
  });
});

describe('WebSocket connections of one key', () => {
  it('are limited to 100; a connection that closes makes room for another', async () => {
    const [busy, other] = [await newKey(admin), await newKey(admin)];
    const open = async (payload: Record<string, string>) => {
      const socket = await openRawWebSocket(app.webSocketUrl);
      socket.send({ type: 'connection_init', payload });
      return socket;
    };
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open(busy)));
    for (const socket of sockets) expect(await socket.next()).toMatchObject({ type: 'connection_ack' });
    expect(await (await open(busy)).closed).toEqual({ code: 1013, reason: RATE_LIMITED });
    const another = await open(other);
    expect(await another.next()).toMatchObject({ type: 'connection_ack' });
    another.close();
    sockets[0]?.close();
    await sockets[0]?.closed;
    const next = await open(busy);
    expect(await next.next()).toMatchObject({ type: 'connection_ack' });
    for (const socket of [...sockets, next]) socket.close();
  });
});

describe('createRateLimiter', () => {
  const log = pino({ level: 'silent' });
  const limits = { requests: 4, writes: 0, creations: 1, management: 1 };
  const newViewer = (): Viewer => ({ ...LOCAL_VIEWER, id: `key:${randomUUID()}` });

  /** Takes `count` requests concurrently and returns how many were accepted. */
  async function accepted(limiter: RateLimiter, viewer: Viewer, count: number): Promise<number> {
    const verdicts = await Promise.all(Array.from({ length: count }, () => limiter.take(viewer, { requests: 1 })));
    return verdicts.filter(({ rejection }) => rejection === null).length;
  }

  it('does not count the local viewer or classes without a limit', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: null, log });
    expect(await accepted(limiter, LOCAL_VIEWER, 50)).toBe(50);
    expect(await limiter.states(LOCAL_VIEWER)).toEqual([]);
    const viewer = newViewer();
    expect(await limiter.take(viewer, { writes: 1_000 })).toEqual({ states: [], rejection: null });
    expect((await limiter.states(viewer)).map(({ name }) => name)).toEqual(['requests', 'creations', 'management']);
  });

  it('counts nothing of an operation that exceeds one of its limits', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: null, log });
    const viewer = newViewer();
    await limiter.take(viewer, { creations: 1 });
    expect((await limiter.take(viewer, { requests: 2, creations: 1 })).rejection?.code).toBe(RATE_LIMITED);
    expect(await accepted(limiter, viewer, 10)).toBe(4);
  });

  it.runIf(hasRedis)('shares the counts of two servers through Redis', async () => {
    const servers = [1, 2].map(() => createRateLimiter({ limits, redisUrl: REDIS_URL, redisTimeoutMs: TEST_WAIT_MS, log }));
    const viewer = newViewer();
    // Until it is connected to Redis, a limiter counts alone.
    for (const server of servers) await vi.waitUntil(() => server.isShared(), WAIT_OPTIONS);
    const counts = await Promise.all(servers.map(server => accepted(server, viewer, 3)));
    expect(counts.reduce((a, b) => a + b)).toBe(4);
    for (const server of servers) await server.close();
  });

  it('counts in memory while Redis is unavailable', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: 'redis://127.0.0.1:1', log });
    expect(limiter.isShared()).toBe(false);
    const viewer = newViewer();
    expect(await accepted(limiter, viewer, 10)).toBe(4);
    expect((await limiter.states(viewer))[0]).toMatchObject({ name: 'requests', remaining: 0 });
    await limiter.close();
  });
});
