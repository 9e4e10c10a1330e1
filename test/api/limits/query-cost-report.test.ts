import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
beforeAll(async () => {
  server = await startStubServer({ limits: { maxQueryCost: 100 } });
});
afterAll(() => server.close());

async function costOf(query: string): Promise<unknown> {
  return (await post(server.url, { query })).body.extensions?.cost;
}

describe('extensions.cost', () => {
  it('reports the cost of an operation and the limit, and nothing else', async () => {
    expect(await costOf('{ hello }')).toEqual({ cost: 1, limit: 100 });
    expect(await costOf('{ items(first: 30) { nodes { id } } }')).toEqual({ cost: 31, limit: 100 });
    expect(await costOf('mutation { save(input: { title: "a" }) }')).toEqual({ cost: 1, limit: 100 });
  });

  it('is present in responses with errors', async () => {
    expect(await costOf('{ fail(how: "domain") }')).toEqual({ cost: 1, limit: 100 });
    expect(await costOf('{ items(first: 200) { nodes { id } } }')).toEqual({ cost: 201, limit: 100 });
  });

  it('is present over WebSocket, but not in the events of a subscription', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: '{ item { id } }' } });
    expect(await socket.next()).toMatchObject({ payload: { extensions: { cost: { cost: 2 } } } });
    expect(await socket.next()).toMatchObject({ type: 'complete' });
    socket.send({ id: '2', type: 'subscribe', payload: { query: 'subscription { ticks(upTo: 1) { n } }' } });
    expect(await socket.next()).toEqual({ id: '2', type: 'next', payload: { data: { ticks: { n: 1 } } } });
    socket.close();
  });
});
