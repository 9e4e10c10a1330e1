import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
const leftovers: (() => void)[] = [];
afterEach(async () => {
  for (const dispose of leftovers.splice(0)) dispose();
  await server.close();
});

/** Each event has a kilobyte, so all events together exceed the buffers on the way many times. */
const EVENTS = 20_000;
const ticks = `subscription { ticks(upTo: ${EVENTS}) { ${'n'.repeat(1_000)}: n } }`;

/** A client that reads nothing of its subscription until `readAll` is called. */
interface SilentClient {
  /** Reads everything until the subscription is complete. */
  readAll(): Promise<string>;
}

const clients: Record<string, () => Promise<SilentClient>> = {
  async WebSocket() {
    const socket = new WebSocket(server.webSocketUrl, 'graphql-transport-ws');
    leftovers.push(() => socket.terminate());
    await once(socket, 'open');
    const acknowledged = once(socket, 'message');
    socket.send('{"type":"connection_init"}');
    await acknowledged;
    socket.pause();
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: ticks } }));
    return {
      readAll: () =>
        new Promise((resolve, reject) => {
          const messages: string[] = [];
          socket.on('message', data => {
            const message = String(data);
            messages.push(message);
            if (message === '{"id":"1","type":"complete"}') resolve(messages.join('\n'));
          });
          socket.once('close', code => reject(new Error(`closed with ${code}`)));
          socket.resume();
        }),
    };
  },
  async 'event stream'() {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1').pause();
    leftovers.push(() => socket.destroy());
    await once(socket, 'connect');
    socket.write(`GET /graphql?query=${encodeURIComponent(ticks)} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
    return {
      async readAll() {
        const chunks: string[] = [];
        for await (const chunk of socket.setEncoding('latin1')) {
          chunks.push(String(chunk));
          if (chunks.slice(-2).join('').includes('event: complete')) break;
        }
        return chunks.join('');
      },
    };
  },
};

/** Waits until the server takes no more events from the source, and returns how many it has taken. */
async function ticksTakenWhenStalled(): Promise<number> {
  let before = -1;
  await expect
    .poll(
      () => {
        const same = before === server.ticksTaken() && before > 0;
        before = server.ticksTaken();
        return same;
      },
      { interval: 500, timeout: 60_000 },
    )
    .toBe(true);
  return before;
}

describe.each(Object.entries(clients))('a %s client that does not read', (_name, open) => {
  it('stops its subscription from taking events, and receives all of them in order when it reads again', async () => {
    server = await startStubServer({ webSockets: { pingMs: 600_000 } });
    const client = await open();
    const taken = await ticksTakenWhenStalled();
    expect(taken).toBeLessThan(EVENTS);
    const numbers = [...(await client.readAll()).matchAll(/"n+":(\d+)/g)].map(([, n]) => Number(n));
    expect(numbers).toHaveLength(EVENTS);
    expect(numbers.every((n, i) => n === i + 1)).toBe(true);
  }, 120_000);

  it('is disconnected after a time, which ends its subscription', async () => {
    server = await startStubServer({ webSockets: { pingMs: 250 }, eventStreams: { heartbeatMs: 250, stallMs: 500 } });
    await open();
    await server.waitForEvent('ticks ended');
    expect(server.ticksTaken()).toBeLessThan(EVENTS);
  }, 120_000);
});

describe('a WebSocket client that sends pings and does not read', () => {
  it('is no longer read by the server', async () => {
    server = await startStubServer({ webSockets: { pingMs: 600_000 } });
    const client = new WebSocket(server.webSocketUrl, 'graphql-transport-ws');
    leftovers.push(() => client.terminate());
    await once(client, 'open');
    client.pause();
    const data = Buffer.alloc(125);
    // Pings and pongs fill the buffers in both directions. Then the client's data stays in its own buffer.
    await expect
      .poll(
        () => {
          for (let i = 0; i < 20_000; i += 1) client.ping(data);
          return client.bufferedAmount;
        },
        { interval: 50, timeout: 60_000 },
      )
      .toBeGreaterThan(20_000_000);
  }, 120_000);
});
