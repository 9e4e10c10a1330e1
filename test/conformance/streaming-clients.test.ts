import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createWsClient } from 'graphql-ws';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type StubServer, startStubServer } from '../support/stub-server.ts';

let server: StubServer;
beforeEach(async () => {
  server = await startStubServer();
});
afterEach(() => server.close());

interface Client {
  iterate(query: string): AsyncIterableIterator<unknown>;
  /** Drops the connection; graphql-ws sends no close frame. */
  disconnect(): Promise<void> | void;
}

const clients: Record<string, () => Client> = {
  'graphql-ws'() {
    let socket: WebSocket | null = null;
    const client = createWsClient({
      url: server.webSocketUrl,
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      on: {
        opened: opened => {
          socket = opened as WebSocket;
        },
      },
    });
    return { iterate: query => client.iterate({ query }), disconnect: () => socket?.terminate() };
  },
  'graphql-sse'() {
    const client = createSseClient({ url: server.url, retryAttempts: 0 });
    return { iterate: query => client.iterate({ query }), disconnect: () => client.dispose() };
  },
};

async function readAll(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const results = [];
  for await (const result of stream) results.push(result);
  return results;
}

describe.each(Object.entries(clients))('%s', (_name, connect) => {
  let client: Client;
  beforeEach(() => {
    client = connect();
  });
  afterEach(() => client.disconnect());

  it('runs a query', async () => {
    expect(await readAll(client.iterate('{ hello }'))).toMatchObject([{ data: { hello: 'hello world' } }]);
  });

  it('runs a mutation', async () => {
    expect(await readAll(client.iterate('mutation { save(input: { title: "a" }) }'))).toMatchObject([{ data: { save: '{"title":"a"}' } }]);
  });

  it('receives the events of a subscription, each resolved with a new context', async () => {
    const results = await readAll(client.iterate('subscription { ticks(upTo: 3) { n contextNumber } }'));
    // The first context is that of the subscribe phase.
    expect(results).toEqual([2, 3, 4].map((contextNumber, i) => ({ data: { ticks: { n: i + 1, contextNumber } } })));
    expect(server.events).toEqual(['ticks started', 'ticks ended']);
  });

  it("ends the server's generator when it stops iterating", async () => {
    for await (const _ of client.iterate('subscription { ticks(upTo: 1000000) { n } }')) break;
    await server.waitForEvent('ticks ended');
  });

  it('aborts the signal of a waiting generator when it stops iterating', async () => {
    const stream = client.iterate('subscription { never { n } }');
    const first = stream.next();
    await server.waitForEvent('never started');
    await stream.return?.();
    await server.waitForEvent('never aborted');
    await first.catch(() => undefined);
  });

  it('aborts the signal of a waiting generator when it disconnects', async () => {
    const stream = client.iterate('subscription { never { n } }');
    const first = stream.next().catch(() => undefined);
    await server.waitForEvent('never started');
    await client.disconnect();
    await server.waitForEvent('never aborted');
    await first;
  });

  it('aborts the signal of a query when it disconnects', async () => {
    const response = client.iterate('{ waitForAbort }').next();
    response.catch(() => undefined);
    await server.waitForEvent('waiting');
    await client.disconnect();
    await server.waitForEvent('aborted');
  });
});
