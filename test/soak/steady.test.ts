import { afterEach, describe, expect, it } from 'vitest';
import { type RestartablePostgres, startRestartablePostgres } from '../api/steady/restartable-postgres.ts';
import { contentsOf, startWriteLoad, storedContents } from '../api/steady/write-load.ts';
import { startServer, stopServers } from '../process/server-process.ts';
import { runSql } from '../support/sql.ts';

/** The database alternately stops cleanly and crashes. */
const OUTAGES = 20;
const RESTARTS = 10;

let postgres: RestartablePostgres;
afterEach(async () => {
  await stopServers();
  await postgres.close();
});

describe('a server process under load for minutes', () => {
  it('responds to every request and keeps every acknowledged write through database outages, without a restart', async () => {
    postgres = await startRestartablePostgres();
    const server = startServer({ DATABASE_URL: postgres.url });
    const url = await server.ready();
    const load = await startWriteLoad(url, { http: 12, ws: 4 });
    for (let outage = 0; outage < OUTAGES; outage += 1) {
      await load.waitForMore('OK', 500);
      await (outage % 2 === 0 ? postgres.stop() : postgres.crash());
      await load.waitForMore('SERVICE_UNAVAILABLE', 200);
      await postgres.start();
    }
    await load.waitForMore('OK', 500);
    await load.stop();
    expect(new Set(load.outcomes.map(({ code }) => code))).toEqual(new Set(['OK', 'SERVICE_UNAVAILABLE']));
    const stored = await storedContents(postgres.url);
    expect(contentsOf(load.outcomes, 'OK').filter(content => !stored.has(content))).toEqual([]);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
  });

  it('leaves exactly the acknowledged writes in the database after each of many SIGTERMs', async () => {
    postgres = await startRestartablePostgres();
    let acknowledged = 0;
    for (let restart = 0; restart < RESTARTS; restart += 1) {
      const server = startServer({ DATABASE_URL: postgres.url, DRAIN_DELAY: '500ms' });
      const load = await startWriteLoad(await server.ready(), { http: 12, ws: 4 });
      await load.waitForMore('OK', 1_000);
      server.kill('SIGTERM');
      expect(await server.ended()).toBe(0);
      await load.stop();
      acknowledged += contentsOf(load.outcomes, 'OK').length;
    }
    expect(await runSql(postgres.url, 'select count(*)::int as stored from aria_engine.chat_messages')).toEqual([{ stored: acknowledged }]);
  });
});
