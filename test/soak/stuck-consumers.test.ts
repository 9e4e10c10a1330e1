import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startServer, stopServers } from '../process/server-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { post } from '../support/http-client.ts';
import { residentMiB } from './resident-memory.ts';

const CONSUMERS = 1_000;
const EVENTS = 100_000;
const BATCH = 100;

/** How much the server's memory may grow, in MiB, as documented. A server without consumers also grows under this load. */
const MAX_GROWTH_MIB = 250;

const SUBSCRIPTION =
  'subscription { sessionEvents { __typename cursor occurredAt sessionId agentId ... on MessageAddedEvent { message { content } } } }';

let database: TestDatabase;
const leftovers: (() => void)[] = [];
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  for (const dispose of leftovers.splice(0)) dispose();
  await stopServers();
  await database.close();
});

/** Each opens a connection, subscribes, and then stops reading. */
const openers: Record<string, (url: string) => Promise<void>> = {
  async WebSockets(url) {
    // The server closes the connection after 24 seconds without a pong; until then its memory use is highest.
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws');
    leftovers.push(() => socket.terminate());
    await once(socket, 'open');
    const acknowledged = once(socket, 'message');
    socket.send('{"type":"connection_init"}');
    await acknowledged;
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: SUBSCRIPTION } }));
    socket.pause();
  },
  async 'event streams'(url) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').pause();
    leftovers.push(() => socket.destroy());
    await once(socket, 'connect');
    socket.write(`GET /graphql?query=${encodeURIComponent(SUBSCRIPTION)} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
  },
};

/** Returns the number of open subscriptions, from /metrics. */
async function countSubscriptions(url: string): Promise<number> {
  const response = await fetch(new URL('/metrics', url));
  return Number(/^\w*subscriptions (\d+)/m.exec(await response.text())?.[1]);
}

describe.each(Object.entries(openers))(`${CONSUMERS} consumers over %s that never read`, (_name, open) => {
  it(`make the server grow by less than ${MAX_GROWTH_MIB} MiB while ${EVENTS} events are written`, async () => {
    const server = startServer({
      DATABASE_URL: database.url,
      // A small heap makes the garbage collector run often, so the measurement contains little garbage.
      NODE_OPTIONS: '--max-old-space-size=256',
      ...{ RATE_LIMIT_REQUESTS: '0', RATE_LIMIT_WRITES: '0', RATE_LIMIT_CREATIONS: '0' },
    });
    const url = await server.ready();
    const create = await post(url, { query: 'mutation { createSession(input: { title: "busy" }) { session { sessionId } } }' });
    const id = /[0-9a-f-]{36}/.exec(JSON.stringify(create.body.data))?.[0];
    const before = await residentMiB(server.pid);
    for (let i = 0; i < CONSUMERS; i += 50) await Promise.all(Array.from({ length: 50 }, () => open(url)));
    await expect.poll(() => countSubscriptions(url), { timeout: 60_000 }).toBe(CONSUMERS);
    const connected = await residentMiB(server.pid);
    let highest = connected;
    const messages = Array.from({ length: BATCH }, () => ({ role: 'USER', content: 'x'.repeat(2_000) }));
    const query = 'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { __typename } }';
    for (let sent = 0; sent < EVENTS; sent += BATCH) {
      const { body } = await post(url, { query, variables: { input: { sessionId: id, messages } } });
      if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
      highest = Math.max(highest, await residentMiB(server.pid));
    }
    process.stdout.write(`before ${before.toFixed(0)} MiB, connected ${connected.toFixed(0)} MiB, highest ${highest.toFixed(0)} MiB\n`);
    expect(highest - before).toBeLessThan(MAX_GROWTH_MIB);
    server.kill('SIGTERM');
    await server.ended();
  });
});
