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
  /** Goes away without a word. */
  leave(): Promise<void> | void;
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
    return { iterate: query => client.iterate({ query }), leave: () => socket?.terminate() };
  },
  'graphql-sse'() {
    const client = createSseClient({ url: server.url, retryAttempts: 0 });
    return { iterate: query => client.iterate({ query }), leave: () => client.dispose() };
  },
};

async function all(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const results = [];
  for await (const result of stream) results.push(result);
  return results;
}

describe.each(Object.entries(clients))('%s', (_name, connect) => {
  let client: Client;
  beforeEach(() => {
    client = connect();
  });
  afterEach(() => client.leave());

  it('runs a query', async () => {
    expect(await all(client.iterate('{ hello }'))).toMatchObject([{ data: { hello: 'hello world' } }]);
  });

  it('runs a mutation', async () => {
    expect(await all(client.iterate('mutation { save(input: { title: "a" }) }'))).toMatchObject([{ data: { save: '{"title":"a"}' } }]);
  });

  it('receives the events of a subscription, each made in a context of its own', async () => {
    const results = await all(client.iterate('subscription { ticks(upTo: 3) { n contextNumber } }'));
    // The first context is that of the subscribe itself.
    expect(results).toEqual([2, 3, 4].map((contextNumber, i) => ({ data: { ticks: { n: i + 1, contextNumber } } })));
    expect(server.events).toEqual(['ticks started', 'ticks ended']);
  });

  it('ends the generator when it has had enough', async () => {
    for await (const _ of client.iterate('subscription { ticks(upTo: 1000000) { n } }')) break;
    await server.waitForEvent('ticks ended');
  });

  it('ends a generator that waits when it has had enough', async () => {
    const stream = client.iterate('subscription { never { n } }');
    const first = stream.next();
    await server.waitForEvent('never started');
    await stream.return?.();
    await server.waitForEvent('never aborted');
    await first.catch(() => undefined);
  });

  it('ends the generator when it goes away', async () => {
    const stream = client.iterate('subscription { never { n } }');
    const first = stream.next().catch(() => undefined);
    await server.waitForEvent('never started');
    await client.leave();
    await server.waitForEvent('never aborted');
    await first;
  });

  it('aborts the signal of a query when it goes away', async () => {
    const answer = client.iterate('{ waitForAbort }').next();
    answer.catch(() => undefined);
    await server.waitForEvent('waiting');
    await client.leave();
    await server.waitForEvent('aborted');
  });
});
