import { beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type GraphQLResponseBody, post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';
import { BOMBS, quickestOf, requestOf } from './query-bombs.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.gql('{ serverInfo { version } }');
});

/** A bomb that is executed or fully validated takes minutes. test/soak/query-bombs.test.ts measures how fast the server rejects it. */
const MAX_MS = 5_000;

async function expectNormalQueryToSucceed(): Promise<void> {
  const { serverInfo } = (await app.gql('{ serverInfo { version } }')).expectOk();
  expect(serverInfo).toEqual({ version: expect.any(String) });
}

describe.each(Object.entries(BOMBS))('an operation with %s', (_name, bomb) => {
  const request = requestOf(bomb);
  const { code } = bomb;

  it('is rejected over HTTP without SQL', async () => {
    app.resetSql();
    const took = await quickestOf(MAX_MS, async () => {
      const { status, body } = await post(app.url, request);
      expect([status, body.errors?.[0]?.extensions.code, body.data]).toEqual([400, code, undefined]);
      // The error messages do not repeat the input many times.
      expect(JSON.stringify(body).length).toBeLessThan(request.length + 20_000);
    });
    expect(took).toBeLessThan(MAX_MS);
    expect(app.sql).toEqual([]);
    await expectNormalQueryToSucceed();
  });

  it('is rejected over WebSocket without SQL', async () => {
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    app.resetSql();
    const took = await quickestOf(MAX_MS, async () => {
      socket.send(`{"id":"1","type":"subscribe","payload":${request}}`);
      const { type, payload } = await socket.next();
      const [error] =
        type === 'error' ? (payload as GraphQLResponseBody['errors'] & object) : ((payload as GraphQLResponseBody).errors ?? []);
      expect(error?.extensions.code).toBe(code);
      if (type === 'next') expect(await socket.next()).toMatchObject({ type: 'complete' });
    });
    expect(took).toBeLessThan(MAX_MS);
    expect(app.sql).toEqual([]);
    socket.send({ id: 'normal', type: 'subscribe', payload: { query: '{ serverInfo { version } }' } });
    expect(await socket.next()).toMatchObject({
      id: 'normal',
      type: 'next',
      payload: { data: { serverInfo: { version: expect.any(String) } } },
    });
    socket.close();
  });
});

describe('a request body of 10 MB', () => {
  const body = `{"query":"{ serverInfo { version } }","variables":{"x":"${'x'.repeat(10_000_000)}"}}`;

  it('gets REQUEST_TOO_LARGE over HTTP', async () => {
    const took = await quickestOf(MAX_MS, async () => {
      const { status, body: answer } = await post(app.url, body);
      expect([status, answer.errors?.[0]?.extensions.code]).toEqual([413, 'REQUEST_TOO_LARGE']);
    });
    expect(took).toBeLessThan(MAX_MS);
    await expectNormalQueryToSucceed();
  });

  it('closes the WebSocket with code 1009', async () => {
    const took = await quickestOf(MAX_MS, async () => {
      const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
      socket.send(`{"id":"1","type":"subscribe","payload":${body}}`);
      expect((await socket.closed).code).toBe(1009);
    });
    expect(took).toBeLessThan(MAX_MS);
    await expectNormalQueryToSucceed();
  });
});

describe('concurrent operations on one WebSocket', () => {
  it('are limited to 1,000; an operation that ends makes room for another', async () => {
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    const subscribe = (id: string) =>
      socket.send({ id, type: 'subscribe', payload: { query: 'subscription { sessionEvents { __typename } }' } });
    const waitForSubscriptions = (count: number) => vi.waitUntil(() => app.app.events.gauges().subscriptions === count, WAIT_OPTIONS);
    for (let i = 0; i < 1_001; i += 1) subscribe(`s${i}`);
    expect(await socket.next()).toMatchObject({
      id: 's1000',
      type: 'error',
      payload: [{ extensions: { code: 'QUERY_TOO_COMPLEX', details: { limit: 1_000 } } }],
    });
    await waitForSubscriptions(1_000);
    socket.send({ id: 's0', type: 'complete' });
    await waitForSubscriptions(999);
    socket.send({ id: 'again', type: 'subscribe', payload: { query: '{ serverInfo { version } }' } });
    expect(await socket.next()).toMatchObject({ id: 'again', type: 'next' });
    socket.close();
    await expectNormalQueryToSucceed();
  });
});

describe('variables', () => {
  it('may hold 100 messages with usage and metadata', async () => {
    const created = (
      await app.gql<{ createSession: { session: { sessionId: string } } }>(
        'mutation { createSession(input: {}) { session { sessionId } } }',
      )
    ).expectOk();
    const { sessionId } = created.createSession.session;
    const message = {
      role: 'ASSISTANT',
      content: 'x',
      model: 'm',
      usage: { inputTokens: 1, outputTokens: 1, cacheReadTokens: 1, cacheWriteTokens: 1, totalTokens: 4, costUsd: 0.1 },
      metadata: { list: Array(500).fill(1) },
    };
    const input = { sessionId, messages: Array(100).fill(message) };
    const query = 'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { session { messageCount } } }';
    expect((await app.gql(query, { input })).expectOk()).toEqual({ appendMessages: { session: { messageCount: 100 } } });
  });
});
