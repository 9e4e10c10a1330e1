import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from '../security/keys.ts';

let app: TestApp;
let admin: TestKey;
beforeAll(async () => {
  app = await startTestApp();
  admin = await makeKey(app, { scope: 'ADMIN' });
});

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const BODY = JSON.stringify({ query: '{ viewer { name } }' });

/** Sends a request with only the first `sent` characters of its body. */
async function sendPartialRequest(authorization: string, sent: number): Promise<Socket> {
  const { hostname, port, host } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  await once(socket, 'connect');
  const head = ['POST /graphql HTTP/1.1', `Host: ${host}`, 'Content-Type: application/json', `Authorization: ${authorization}`];
  socket.write(`${[...head, `Content-Length: ${BODY.length}`].join('\r\n')}\r\n\r\n${BODY.slice(0, sent)}`);
  return socket;
}

async function firstChunkOf(socket: Socket): Promise<string> {
  const [chunk] = await once(socket.setEncoding('utf8'), 'data');
  return String(chunk);
}

describe('a request whose body is incomplete', () => {
  it('gets UNAUTHORIZED before its body is complete if its credential is invalid', async () => {
    for (const authorization of [`Bearer sg_${'A'.repeat(43)}`, 'Basic abc']) {
      expect(await firstChunkOf(await sendPartialRequest(authorization, 5))).toContain('"code":"UNAUTHORIZED"');
    }
  });

  it('gets UNAUTHORIZED when its key is revoked before the body is complete', async () => {
    const key = await makeKey(app, { scope: 'READ', by: admin.secret });
    const socket = await sendPartialRequest(key.headers.authorization, 5);
    const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { id } } }';
    (await app.gql(REVOKE, { id: key.id }, admin)).expectOk();
    await expect.poll(async () => (await app.gql('{ viewer { name } }', {}, key)).errors?.[0]?.extensions.code).toBe('UNAUTHORIZED');
    // The server authenticates again only if the body took more than REAUTHENTICATE_AFTER_MS (500 ms) to arrive. Only the clock decides that, so
    // there is no event to wait for.
    await new Promise(resolve => setTimeout(resolve, 600));
    socket.write(BODY.slice(5));
    expect(await firstChunkOf(socket)).toContain('"code":"UNAUTHORIZED"');
  });
});
