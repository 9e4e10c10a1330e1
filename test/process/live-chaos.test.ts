import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { TEST_WAIT_MS } from '../support/wait-time.ts';
import { runChaos } from './chaos/chaos-run.ts';
import { type ChaosServers, startChaosServers } from './chaos/chaos-servers.ts';
import { stopServers } from './server-process.ts';

let database: TestDatabase;
let servers: ChaosServers;
beforeAll(async () => {
  database = await createTestDatabase();
  servers = await startChaosServers(2, { DATABASE_URL: database.url, DATABASE_POOL: '5' });
});
afterAll(async () => {
  await stopServers();
  await database.close();
});

describe('subscribers of two servers', () => {
  it(
    'receive every event of their filter exactly once and in log order, although their connections break',
    async () => {
      const { disconnects, connections } = await runChaos({
        seed: 1,
        servers,
        databaseUrl: database.url,
        writers: 5,
        subscribers: 20,
        disconnects: 50,
        maxPauseMs: 150,
        openTransactionMs: 500,
      });
      expect(Object.values(disconnects).reduce((sum, count) => sum + count)).toBe(50);
      expect(connections).toBeGreaterThanOrEqual(20 + 50);
      await servers.close();
    },
    10 * TEST_WAIT_MS,
  );
});
