import { beforeAll, describe, expect, it } from 'vitest';
import { BOMBS, quickestOf, requestOf } from '../api/limits/query-bombs.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { post } from '../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../support/raw-websocket.ts';

const MOST_MS = 100;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.gql('{ serverInfo { version } }');
});

describe('in a tenth of a second', () => {
  it.each(Object.entries(BOMBS))('%s: refused over HTTP and WebSocket', async (_name, bomb) => {
    const request = requestOf(bomb);
    const overHttp = await quickestOf(MOST_MS, async () => expect((await post(app.url, request)).status).toBe(400));
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    const overSocket = await quickestOf(MOST_MS, async () => {
      socket.send(`{"id":"1","type":"subscribe","payload":${request}}`);
      if ((await socket.next()).type === 'next') await socket.next();
    });
    socket.close();
    expect(overHttp).toBeLessThan(MOST_MS);
    expect(overSocket).toBeLessThan(MOST_MS);
  });
});
