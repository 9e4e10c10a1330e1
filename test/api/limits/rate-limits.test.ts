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

async function redisAnswers(): Promise<boolean> {
  const socket = connect(6379, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    process.stdout.write(`Left out, as no Redis answers at ${REDIS_URL}: counting together through it.\n`);
    return false;
  } finally {
    socket.destroy();
  }
}

const hasRedis = await redisAnswers();

let app: TestApp;
let admin: Record<string, string>;
beforeAll(async () => {
  app = await startTestApp({ env: ENV });
  admin = await newKey(null);
  await vi.waitUntil(() => !app.app.isOpen(), WAIT_OPTIONS);
});

/** The headers of a new key; the first is made while everyone is let in. */
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

const OVER = 'RATE_LIMIT_EXCEEDED';

describe('what an operation counts', () => {
  const chargeOf = (query: string) => {
    const document = parse(query);
    const operation = document.definitions.find(node => node.kind === 'OperationDefinition');
    if (operation === undefined) throw new Error('No operation.');
    return rateChargeOf(document, operation);
  };

  it.each([
    ['{ a b c }', { requests: 1 }],
    ['subscription { sessionEvents { __typename } }', { requests: 1 }],
    ['mutation { updateSession { a } }', { requests: 1 }],
    ['mutation { a: appendMessage { a } b: appendMessages { a } c: appendLogs { a } }', { writes: 3 }],
    ['mutation { createSession { a } deleteSession { a } appendMessage { a } }', { creations: 1, management: 1, writes: 1 }],
    ['mutation { ...f ...f ... { a: killSession { a } } } fragment f on Mutation { resetSession { a } }', { creations: 1, management: 1 }],
  ])('%s', (query, charge) => {
    expect(chargeOf(query)).toEqual(charge);
  });
});

describe('over HTTP', () => {
  it('requests are refused beyond the limit, with headers that tell how long, and no other caller is', async () => {
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
    expect([status, error?.extensions.code, error?.extensions.retryable, body.data]).toEqual([429, OVER, true, undefined]);
    const { retryAfterMs } = error?.extensions.details ?? {};
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect(headers.get('ratelimit-remaining')).toBe('0');
    expect((await post(app.url, { query: INFO }, second)).status).toBe(200);
  });

  it('each mutation field counts once in its class, and what is refused is not done', async () => {
    const key = await newKey(admin);
    expect(await codesOf(1, `mutation { a: ${CREATE} b: ${CREATE} c: ${CREATE} }`, key)).toEqual([OVER]);
    expect(await codesOf(2, `mutation { ${CREATE} }`, key)).toEqual([undefined, undefined]);
    expect(await codesOf(1, `mutation { ${CREATE} }`, key)).toEqual([OVER]);
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

describe('the limits of one key', () => {
  it("hold in place of the server's, where they are given", async () => {
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
    expect(await codesOf(2, INFO, key)).toEqual([undefined, OVER]);
  });

  it('must not be negative', async () => {
    await expect(newKey(admin, { writes: -1 })).rejects.toThrow('input.rateLimits.writes');
  });
});

describe('over WebSocket and SSE', () => {
  it('queries and subscribes count as over HTTP, with it', async () => {
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
    const ask = (id: string, query: string) => socket.send({ id, type: 'subscribe', payload: { query } });
    ask('1', INFO);
    expect(await socket.next()).toMatchObject({ id: '1', type: 'next', payload: { data: { serverInfo: {} } } });
    expect(await socket.next()).toMatchObject({ id: '1', type: 'complete' });
    for (const query of [INFO, 'subscription { sessionEvents { __typename } }']) {
      ask(query, query);
      expect(await socket.next()).toMatchObject({ id: query, type: 'next', payload: { errors: [{ extensions: { code: OVER } }] } });
      expect(await socket.next()).toMatchObject({ id: query, type: 'complete' });
    }
    socket.close();
    expect(await codesOf(1, INFO, key)).toEqual([OVER]);
  });
});

describe('the sockets of one key', () => {
  it('are at most 100, and one that is closed makes room', async () => {
    const [busy, other] = [await newKey(admin), await newKey(admin)];
    const open = async (payload: Record<string, string>) => {
      const socket = await openRawWebSocket(app.webSocketUrl);
      socket.send({ type: 'connection_init', payload });
      return socket;
    };
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open(busy)));
    for (const socket of sockets) expect(await socket.next()).toMatchObject({ type: 'connection_ack' });
    expect(await (await open(busy)).closed).toEqual({ code: 1013, reason: OVER });
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

describe('counting', () => {
  const log = pino({ level: 'silent' });
  const limits = { requests: 4, writes: 0, creations: 1, management: 1 };
  const someone = (): Viewer => ({ ...LOCAL_VIEWER, id: `key:${randomUUID()}` });

  async function taken(limiter: RateLimiter, viewer: Viewer, count: number): Promise<number> {
    const verdicts = await Promise.all(Array.from({ length: count }, () => limiter.take(viewer, { requests: 1 })));
    return verdicts.filter(({ refusal }) => refusal === null).length;
  }

  it('leaves out the caller of a server without authentication, and what is not limited', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: null, log });
    expect(await taken(limiter, LOCAL_VIEWER, 50)).toBe(50);
    expect(await limiter.states(LOCAL_VIEWER)).toEqual([]);
    const viewer = someone();
    expect(await limiter.take(viewer, { writes: 1_000 })).toEqual({ states: [], refusal: null });
    expect((await limiter.states(viewer)).map(({ name }) => name)).toEqual(['requests', 'creations', 'management']);
  });

  it('takes all of an operation or nothing', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: null, log });
    const viewer = someone();
    await limiter.take(viewer, { creations: 1 });
    expect((await limiter.take(viewer, { requests: 2, creations: 1 })).refusal?.code).toBe(OVER);
    expect(await taken(limiter, viewer, 10)).toBe(4);
  });

  it.runIf(hasRedis)('is done together through Redis', async () => {
    const servers = [1, 2].map(() => createRateLimiter({ limits, redisUrl: REDIS_URL, redisTimeoutMs: TEST_WAIT_MS, log }));
    const viewer = someone();
    // The first that are asked may still be connecting.
    for (const server of servers) await vi.waitUntil(() => server.isShared(), WAIT_OPTIONS);
    const counts = await Promise.all(servers.map(server => taken(server, viewer, 3)));
    expect(counts.reduce((a, b) => a + b)).toBe(4);
    for (const server of servers) await server.close();
  });

  it('goes on in each server alone while Redis is away', async () => {
    const limiter = createRateLimiter({ limits, redisUrl: 'redis://127.0.0.1:1', log });
    expect(limiter.isShared()).toBe(false);
    const viewer = someone();
    expect(await taken(limiter, viewer, 10)).toBe(4);
    expect((await limiter.states(viewer))[0]).toMatchObject({ name: 'requests', remaining: 0 });
    await limiter.close();
  });
});
