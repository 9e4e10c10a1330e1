import { beforeAll, describe, expect, it } from 'vitest';
import { BOMBS, quickestOf, requestOf } from '../api/limits/query-bombs.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type GraphQLResponseBody, post } from '../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../support/raw-websocket.ts';

const MAX_MS = 100;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.gql('{ serverInfo { version } }');
});

describe('query limits', () => {
  it.each(Object.entries(BOMBS))('refuse %s within 100 ms, over HTTP and WebSocket', async (_name, bomb) => {
    const request = requestOf(bomb);
    const overHttp = await quickestOf(MAX_MS, async () => expect((await post(app.url, request)).status).toBe(400));
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    const overSocket = await quickestOf(MAX_MS, async () => {
      socket.send(`{"id":"1","type":"subscribe","payload":${request}}`);
      const message = await socket.next();
      const errors = message.type === 'error' ? message.payload : (message.payload as GraphQLResponseBody).errors;
      expect(errors).toHaveProperty('[0].extensions.code', bomb.code);
      if (message.type === 'next') expect(await socket.next()).toMatchObject({ type: 'complete' });
    });
    socket.close();
    expect(overHttp).toBeLessThan(MAX_MS);
    expect(overSocket).toBeLessThan(MAX_MS);
  });
});
