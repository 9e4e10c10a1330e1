import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { startStubServer } from '../../support/stub-server.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const INFO = 30;
const operations = (log: readonly Record<string, unknown>[]) => log.filter(({ msg }) => msg === 'operation');

describe('the operation log', () => {
  it('has one line for each operation, with its name, transport, viewer and duration', async () => {
    const headers = { 'x-request-id': 'one-line' };
    await app.gql('query Page { sessions(first: 1) { nodes { id } } }', {}, { headers });
    const lines = operations(app.log).filter(({ requestId }) => requestId === 'one-line');
    expect(lines).toEqual([
      {
        level: INFO,
        time: expect.anything(),
        pid: expect.anything(),
        hostname: expect.anything(),
        requestId: 'one-line',
        transport: 'http',
        type: 'query',
        operation: 'Page',
        viewer: 'local',
        durationMs: expect.any(Number),
        msg: 'operation',
      },
    ]);
  });

  it('contains the codes of errors', async () => {
    const headers = { 'x-request-id': 'with-codes' };
    await app.gql('mutation Twice { a: endSession(input: { id: "x" }) { session { id } } }', {}, { headers });
    expect(operations(app.log).at(-1)).toMatchObject({ requestId: 'with-codes', type: 'mutation', codes: ['SESSION_NOT_FOUND'] });
  });

  it('contains no variables, content, documents or credentials', async () => {
    const headers = { authorization: 'Bearer hush-token', 'x-request-id': 'hush' };
    const input = { title: 'hush-title', key: 'hush-key', metadata: { hush: 'hush-metadata' } };
    (
      await app.gql('mutation Make($input: CreateSessionInput!) { createSession(input: $input) { created } }', { input }, { headers })
    ).expectOk();
    await app.gql('mutation { createSession(input: { title: "hush-literal", nothing: 1 }) { created } }', {}, { headers });
    expect(operations(app.log).filter(({ requestId }) => requestId === 'hush')).toHaveLength(2);
    expect(JSON.stringify(app.log)).not.toMatch(/hush-(token|title|key|metadata|literal)/);
  });

  it('has a line for a subscription when it ends, with the number of its events', async () => {
    const stream = await app.subscribe('subscription Live { sessionEvents { __typename } }');
    await app.gql('mutation { createSession(input: { title: "a" }) { created } }');
    await stream.next();
    const isLive = ({ operation }: Record<string, unknown>) => operation === 'Live';
    expect(operations(app.log).filter(isLive)).toEqual([]);
    await stream.close();
    await expect.poll(() => operations(app.log).filter(isLive)).toHaveLength(1);
    expect(operations(app.log).find(isLive)).toMatchObject({ transport: 'ws', type: 'subscription', events: 1 });
  });

  it('has a line for a subscription whose client disconnects without closing it', async () => {
    const openSubscriptions = () => app.app.events.gauges().subscriptions;
    await expect.poll(openSubscriptions).toBe(0);
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: 'subscription Gone { sessionEvents { __typename } }' } });
    await expect.poll(openSubscriptions).toBe(1);
    socket.terminate();
    await expect.poll(() => operations(app.log).filter(({ operation }) => operation === 'Gone')).toHaveLength(1);
  });

  it('contains the errorId of an unexpected error, which one other line has too', async () => {
    const server = await startStubServer();
    const { body } = await post(server.url, { query: 'query Fails { fail(how: "plain") }' });
    const errorId = body.errors?.[0]?.extensions.errorId;
    expect(errorId).toBeTypeOf('string');
    expect(operations(server.log)).toMatchObject([{ operation: 'Fails', codes: ['INTERNAL_SERVER_ERROR'], errorIds: [errorId] }]);
    expect(server.log.filter(line => line.errorId === errorId)).toHaveLength(1);
    await server.close();
  });
});
