import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMetrics } from '../../../src/server/observe/metrics.ts';
import type { OperationReport } from '../../../src/server/observe/operation-watch.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { getStatusWithHost } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket, openRawWebSocket, type RawWebSocket } from '../../support/raw-websocket.ts';
import { makeKey, type TestKey } from '../security/keys.ts';

let app: TestApp;
let address: URL;
beforeAll(async () => {
  app = await startTestApp();
  address = new URL('/metrics', app.url);
});
afterAll(() => app.close());

/** Reads /metrics and returns the values of one metric by their labels. */
async function readMetric(name: string, from: URL = address): Promise<Record<string, number>> {
  const text = await (await fetch(from)).text();
  const lines = text.split('\n').filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map(line => {
      const [, labels = '', value] = /^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return [labels, Number(value)];
    }),
  );
}

const COUNT = 'sessiongraph_operations_total';
const DURATION = 'sessiongraph_operation_duration_seconds';

describe('/metrics', () => {
  it('counts operations by type, name and code, over HTTP', async () => {
    await app.gql('query Page { sessions(first: 1) { nodes { id } } }');
    await app.gql('query Page { sessions(first: 1) { nodes { id } } }');
    await app.gql('{ sessions(first: 100000) { nodes { id } } }');
    await app.gql('query Wrong { nothing }');
    await app.gql('query {');
    expect(await readMetric(COUNT)).toMatchObject({
      'type="query",operation="Page",code="OK"': 2,
      'type="query",operation="",code="PAGE_SIZE_TOO_LARGE"': 1,
      'type="unknown",operation="",code="GRAPHQL_VALIDATION_FAILED"': 1,
      'type="unknown",operation="",code="GRAPHQL_PARSE_FAILED"': 1,
    });
    expect(await readMetric(`${DURATION}_count`)).toMatchObject({ 'type="query"': 3, 'type="unknown"': 2 });
  });

  it('counts requests that are rejected before GraphQL', async () => {
    await fetch(app.url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'hello' });
    expect(await readMetric(COUNT)).toMatchObject({ 'type="unknown",operation="",code="BAD_USER_INPUT"': 1 });
  });

  it('counts successful and rejected operations over WebSocket', async () => {
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: 'query OverSocket { serverInfo { version } }' } });
    expect(await socket.next()).toMatchObject({ type: 'next' });
    expect(await socket.next()).toMatchObject({ type: 'complete' });
    socket.send({ id: '2', type: 'subscribe', payload: { query: 'query Bad($id: ID!) { session(id: $id) { id } }' } });
    await socket.next();
    socket.close();
    expect(await readMetric(COUNT)).toMatchObject({
      'type="query",operation="OverSocket",code="OK"': 1,
      'type="query",operation="Bad",code="BAD_USER_INPUT"': 1,
    });
  });

  it.each(['ws', 'sse'] as const)('counts a subscription over %s once, when it starts', async over => {
    const name = `Live${over}`;
    const stream = await app.subscribe(`subscription ${name} { sessionEvents { __typename } }`, {}, { over });
    expect(await readMetric(COUNT)).toMatchObject({ [`type="subscription",operation="${name}",code="OK"`]: 1 });
    // The subscription of the previous test may still be closing.
    await expect.poll(() => readMetric('sessiongraph_subscriptions')).toEqual({ '': 1 });
    await app.gql('mutation { createSession(input: { title: "a" }) { created } }');
    await stream.next();
    await stream.close();
    expect(await readMetric(COUNT)).toMatchObject({ [`type="subscription",operation="${name}",code="OK"`]: 1 });
  });

  it('shows gauges of the pool, the event log and the process', async () => {
    expect((await readMetric('sessiongraph_database_pool_connections'))['']).toBeGreaterThan(0);
    for (const name of ['database_pool_idle', 'database_pool_waiting', 'subscriptions_behind', 'events_buffered', 'event_lag']) {
      expect(await readMetric(`sessiongraph_${name}`)).toEqual({ '': expect.any(Number) });
    }
    expect((await readMetric('process_resident_memory_bytes'))['']).toBeGreaterThan(0);
    expect((await fetch(address)).headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  it('returns 403 to pages of other origins, other Host headers and forwarded requests', async () => {
    expect((await fetch(address, { headers: { origin: 'https://evil.example' } })).status).toBe(403);
    expect(await getStatusWithHost(address.href, 'evil.example')).toBe(403);
    for (const header of ['x-forwarded-for', 'forwarded']) {
      const response = await fetch(address, { headers: { [header]: 'for=10.0.0.1' } });
      expect(response.status).toBe(403);
      expect(await response.text()).not.toContain('sessiongraph_');
    }
  });
});

describe('/metrics with authentication', () => {
  let secured: TestApp;
  let metricsUrl: URL;
  let admin: TestKey;
  /** Requests /metrics as if a proxy had forwarded the request from another machine. */
  const getForwarded = async (headers: Record<string, string>) => {
    const response = await fetch(metricsUrl, { headers: { 'x-forwarded-for': '203.0.113.7', ...headers } });
    const body = await response.text();
    return { status: response.status, body, challenge: response.headers.get('www-authenticate') };
  };
  const codeOf = (body: string) => JSON.parse(body).errors[0].extensions.code;
  beforeAll(async () => {
    secured = await startTestApp();
    metricsUrl = new URL('/metrics', secured.url);
    admin = await makeKey(secured, { scope: 'ADMIN' });
  });

  it('accepts a key with the scope READ', async () => {
    const reader = await makeKey(secured, { scope: 'READ', by: admin.secret });
    const { status, body } = await getForwarded(reader.headers);
    expect(status).toBe(200);
    expect(body).toContain('sessiongraph_operations_total');
  });

  it('returns UNAUTHORIZED without a key and with an invalid one', async () => {
    for (const authorization of [null, 'Bearer sg_nobody', 'Basic abc']) {
      const { status, body, challenge } = await getForwarded(authorization === null ? {} : { authorization });
      expect({ status, challenge, code: codeOf(body) }).toEqual({ status: 401, challenge: 'Bearer', code: 'UNAUTHORIZED' });
    }
  });

  it('returns FORBIDDEN to an ADMIN key bound to agents, even for a local request', async () => {
    const bound = await makeKey(secured, { scope: 'ADMIN', agentIds: ['a'], by: admin.secret });
    const { status, body } = await getForwarded(bound.headers);
    expect({ status, code: codeOf(body) }).toEqual({ status: 403, code: 'FORBIDDEN' });
    expect((await fetch(metricsUrl, { headers: bound.headers })).status).toBe(403);
  });

  it('returns 401 to a revoked key', async () => {
    const revoked = await makeKey(secured, { scope: 'READ', by: admin.secret });
    await secured.gql('mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { id } } }', { id: revoked.id }, admin);
    await expect.poll(async () => (await getForwarded(revoked.headers)).status).toBe(401);
  });

  it('accepts local requests without a key', async () => {
    expect((await fetch(metricsUrl)).status).toBe(200);
  });
});

describe('sessiongraph_limits_hit_total', () => {
  let limited: TestApp;
  let limitsUrl: URL;
  const hits = () => readMetric('sessiongraph_limits_hit_total', limitsUrl);
  const send = (query: string, variables?: Record<string, unknown>) => limited.gql(query, variables);
  beforeAll(async () => {
    limited = await startTestApp({ env: { RATE_LIMIT_CREATIONS: '1', MAX_QUERY_COST: '2000' } });
    limitsUrl = new URL('/metrics', limited.url);
  });

  it.each<[string, string, () => Promise<unknown>]>([
    ['page_size', 'PAGE_SIZE_TOO_LARGE', () => send('{ sessions(first: 100000) { nodes { id } } }')],
    ['query_cost', 'QUERY_TOO_COMPLEX', () => send('{ sessions(first: 100) { nodes { messages(first: 100) { nodes { id } } } } }')],
    [
      'query_size',
      'QUERY_TOO_COMPLEX',
      () => send(`{ ${Array.from({ length: 600 }, (_, i) => `a${i}: serverInfo { version }`).join(' ')} }`),
    ],
    ['query_depth', 'QUERY_TOO_DEEP', () => send(`{ ${'a { '.repeat(100)} b ${'}'.repeat(100)} }`)],
    ['query_tokens', 'GRAPHQL_PARSE_FAILED', () => send(`{ ${'a '.repeat(10_001)} }`)],
    ['request_size', 'REQUEST_TOO_LARGE', () => send(`{ a } # ${'x'.repeat(5_000_000)}`)],
    [
      'message_size',
      'MESSAGE_TOO_LARGE',
      () =>
        send(
          'mutation ($c: String!) { appendMessage(input: { sessionId: "x", message: { role: USER, content: $c } }) { message { id } } }',
          {
            c: 'x'.repeat(100_001),
          },
        ),
    ],
    [
      'title_size',
      'TITLE_TOO_LONG',
      () => send('mutation ($t: String!) { createSession(input: { title: $t }) { created } }', { t: 'x'.repeat(201) }),
    ],
  ])('counts only %s when a request returns %s', async (limit, code, exceedLimit) => {
    const before = await hits();
    expect(await exceedLimit()).toMatchObject({ errors: [{ extensions: { code } }] });
    const label = `limit="${limit}"`;
    expect(await hits()).toEqual({ ...before, [label]: (before[label] ?? 0) + 1 });
  });

  it('does not count a syntax error', async () => {
    const before = await hits();
    (await send('{ a ')).expectError('GRAPHQL_PARSE_FAILED');
    expect(await hits()).toEqual(before);
  });

  it('counts request_time when a statement waits for a lock', async () => {
    // A second server has the short timeout, so the other requests of this test cannot exceed it.
    const shortTimeoutApp = await app.startSecondServer({ env: { REQUEST_TIMEOUT: '300ms' } });
    const { createSession } = (
      await app.gql<{ createSession: { session: { sessionId: string } } }>(
        'mutation { createSession(input: { title: "a" }) { session { sessionId } } }',
      )
    ).expectOk();
    const { sessionId } = createSession.session;
    const client = new Client({ connectionString: app.databaseUrl });
    await client.connect();
    try {
      await client.query('begin');
      await client.query('select 1 from aria_engine.chat_sessions where id = $1 for update', [sessionId]);
      const blocked = await shortTimeoutApp.gql(
        'mutation ($id: ID!) { updateSession(input: { id: $id, title: "b" }) { session { id } } }',
        {
          id: sessionId,
        },
      );
      blocked.expectError('REQUEST_TIMEOUT');
    } finally {
      await client.end();
    }
    expect(await readMetric('sessiongraph_limits_hit_total', new URL('/metrics', shortTimeoutApp.url))).toEqual({
      'limit="request_time"': 1,
    });
  });

  it('counts rate over HTTP and WebSocket', async () => {
    const key = await makeKey(limited, { scope: 'WRITE' });
    const create = 'mutation { createSession(input: { title: "a" }) { created } }';
    (await limited.gql(create, {}, key)).expectOk();
    (await limited.gql(create, {}, key)).expectError('RATE_LIMIT_EXCEEDED');
    expect(await hits()).toMatchObject({ 'limit="rate"': 1 });
    const socket = await openAcknowledgedWebSocket(limited.webSocketUrl, key.headers);
    socket.send({ id: '1', type: 'subscribe', payload: { query: create } });
    await socket.next();
    socket.close();
    expect(await hits()).toMatchObject({ 'limit="rate"': 2 });
  });

  it('counts socket_operations and socket_message_size', { timeout: 120_000 }, async () => {
    const busy = await openAcknowledgedWebSocket(app.webSocketUrl);
    const query = 'subscription { sessionEvents { __typename } }';
    for (let id = 0; id <= 1_000; id += 1) busy.send({ id: String(id), type: 'subscribe', payload: { query } });
    expect(await busy.next()).toMatchObject({ type: 'error', id: '1000' });
    busy.send({ id: 'large', type: 'subscribe', payload: { query: 'x'.repeat(5_000_000) } });
    expect((await busy.closed).code).toBe(1009);
    expect(await readMetric('sessiongraph_limits_hit_total')).toMatchObject({
      'limit="socket_operations"': 1,
      'limit="socket_message_size"': 1,
    });
  });

  it('counts sockets when a key opens more than 100', { timeout: 120_000 }, async () => {
    const keyed = await startTestApp();
    const key = await makeKey(keyed, { scope: 'READ' });
    // Sequential, because on a busy machine a hundred concurrent handshakes could exceed the server's timeout for connection_init.
    const sockets: RawWebSocket[] = [];
    while (sockets.length < 100) sockets.push(await openAcknowledgedWebSocket(keyed.webSocketUrl, key.headers));
    const oneMore = await openRawWebSocket(keyed.webSocketUrl, undefined, key.headers);
    oneMore.send({ type: 'connection_init' });
    expect((await oneMore.closed).code).toBe(1013);
    expect(await readMetric('sessiongraph_limits_hit_total', new URL('/metrics', keyed.url))).toEqual({ 'limit="sockets"': 1 });
    for (const socket of sockets) socket.close();
  });
});

describe('createMetrics', () => {
  const report = (name: string): OperationReport => ({
    requestId: 'r',
    traceId: null,
    transport: 'http',
    type: 'query',
    name,
    viewer: null,
    codes: [],
    limits: [],
    errorIds: [],
    durationMs: 1,
    events: 0,
  });
  const noSources = {
    pool: () => ({ total: 0, idle: 0, waiting: 0 }),
    events: () => ({ subscriptions: 0, behind: 0, buffered: 0, lag: 0 }),
  };

  it('limits the number of distinct operation labels', async () => {
    const metrics = createMetrics(noSources);
    for (let n = 0; n < 1_000; n += 1) metrics.answered?.(report(`Name${n}`));
    metrics.answered?.(report('N'.repeat(1_000)));
    const { text } = await metrics.render();
    const lines = text.split('\n').filter(line => line.startsWith(`${COUNT}{`));
    expect(lines).toHaveLength(101);
    expect(lines).toContain(`${COUNT}{type="query",operation="other",code="OK"} 901`);
  });
});
