import { afterEach, describe, expect, it } from 'vitest';
import { contentsOf, startWriteLoad, storedContents } from '../api/steady/write-load.ts';
import { createTestDatabase } from '../support/database.ts';
import { openAcknowledgedWebSocket } from '../support/raw-websocket.ts';
import { startServer, stopServers } from './server-process.ts';

afterEach(stopServers);

describe('SIGTERM under load', () => {
  it('fails readiness first, answers every executed request, closes WebSockets with 1001 and exits with code 0', async () => {
    const database = await createTestDatabase();
    const server = startServer({ DATABASE_URL: database.url, DRAIN_DELAY: '5s' });
    const url = await server.ready();
    const subscriber = await openAcknowledgedWebSocket(url.replace('http', 'ws'));
    subscriber.send({ id: '1', type: 'subscribe', payload: { query: 'subscription { sessionEvents { __typename } }' } });
    const load = await startWriteLoad(url, { http: 8, ws: 4 });
    await load.waitForMore('OK', 200);
    server.kill('SIGTERM');
    const readyz = new URL('/readyz', url);
    await expect.poll(async () => (await fetch(readyz)).status, { interval: 5 }).toBe(503);
    await load.waitForMore('OK', 1);
    expect((await subscriber.closed).code).toBe(1001);
    expect(await server.ended()).toBe(0);
    await load.stop();
    // Every accepted HTTP connection got a response. Messages sent on a WebSocket after its close frame were not executed.
    const outcomesOver = (transport: string) =>
      new Set(load.outcomes.flatMap(({ content, code }) => (content.startsWith(transport) ? code : [])));
    expect(outcomesOver('http')).toEqual(new Set(['OK', 'refused']));
    expect(outcomesOver('ws')).toEqual(new Set(['OK', 'none']));
    const stored = await storedContents(database.url);
    expect([...stored].sort()).toEqual(contentsOf(load.outcomes, 'OK').sort());
    await database.close();
  });
});
