import { afterEach, describe, expect, it } from 'vitest';
import { contentsOf, startWriteLoad, storedContents } from '../api/steady/write-load.ts';
import { createTestDatabase } from '../support/database.ts';
import { openAcknowledgedWebSocket } from '../support/raw-websocket.ts';
import { startServer, stopServers } from './server-process.ts';

afterEach(stopServers);

describe('SIGTERM under load', () => {
  it('readiness goes first, what was executed is answered, sockets close with 1001, and the process ends with 0', async () => {
    const database = await createTestDatabase();
    const server = startServer({ DATABASE_URL: database.url, DRAIN_DELAY: '5s' });
    const url = await server.ready();
    const watcher = await openAcknowledgedWebSocket(url.replace('http', 'ws'));
    watcher.send({ id: '1', type: 'subscribe', payload: { query: 'subscription { sessionEvents { __typename } }' } });
    const load = await startWriteLoad(url, { http: 8, ws: 4 });
    await load.more('OK', 200);
    server.kill('SIGTERM');
    const readyz = new URL('/readyz', url);
    await expect.poll(async () => (await fetch(readyz)).status, { interval: 5 }).toBe(503);
    await load.more('OK', 1);
    expect((await watcher.closed).code).toBe(1001);
    expect(await server.ended()).toBe(0);
    await load.stop();
    // A connection that was to be had got its answer; a socket that was told goodbye had what it sent after that left undone.
    const ends = (transport: string) => new Set(load.outcomes.flatMap(({ content, code }) => (content.startsWith(transport) ? code : [])));
    expect(ends('http')).toEqual(new Set(['OK', 'refused']));
    expect(ends('ws')).toEqual(new Set(['OK', 'none']));
    const stored = await storedContents(database.url);
    expect([...stored].sort()).toEqual(contentsOf(load.outcomes, 'OK').sort());
    await database.close();
  });
});
