import { afterEach, describe, expect, it } from 'vitest';
import { type RestartablePostgres, startRestartablePostgres } from '../api/steady/restartable-postgres.ts';
import { type ChaosPlan, runChaos } from '../process/chaos/chaos-run.ts';
import { type ChaosServers, startChaosServers } from '../process/chaos/chaos-servers.ts';
import { stopServers } from '../process/server-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createRedisProcess, hasRedis, type RedisProcess } from './redis-process.ts';

const SIZE = { writers: 10, subscribers: 50, maxPauseMs: 40, openTransactionMs: null };

let servers: ChaosServers;
let database: TestDatabase | RestartablePostgres | null = null;
let redis: RedisProcess | null = null;

async function start(onDatabase: TestDatabase | RestartablePostgres, variables: Readonly<Record<string, string>> = {}): Promise<void> {
  database = onDatabase;
  servers = await startChaosServers(2, { DATABASE_URL: onDatabase.url, DATABASE_POOL: '10', ...variables });
}

afterEach(async () => {
  await stopServers();
  await database?.close();
  database = null;
  await redis?.stop();
  redis = null;
});

async function run(plan: Omit<ChaosPlan, 'servers' | 'databaseUrl'>): Promise<void> {
  const { disconnects, connections } = await runChaos({ ...plan, servers, databaseUrl: database?.url ?? '' });
  expect(Object.values(disconnects).reduce((sum, count) => sum + count)).toBe(plan.disconnects);
  expect(connections).toBeGreaterThanOrEqual(plan.subscribers + plan.disconnects);
  await servers.close();
}

describe('50 subscribers of two servers receive every event of 10 writers once and in order', () => {
  it('while 1,000 connections break and one transaction stays open for seconds', async () => {
    await start(await createTestDatabase());
    await run({ ...SIZE, seed: 11, disconnects: 1_000, openTransactionMs: 5_000 });
  });

  it('while servers are killed, stopped and started again', async () => {
    await start(await createTestDatabase());
    const restart = (index: number, signal: 'SIGKILL' | 'SIGTERM') => async () => {
      await servers.end(index, signal);
      await servers.start(index);
    };
    await run({
      ...SIZE,
      seed: 12,
      disconnects: 400,
      outages: [
        { afterDisconnects: 60, run: restart(0, 'SIGKILL') },
        { afterDisconnects: 160, run: restart(1, 'SIGKILL') },
        { afterDisconnects: 260, run: restart(0, 'SIGTERM') },
      ],
    });
  });

  it('while Postgres stops, crashes and starts again', async () => {
    const postgres = await startRestartablePostgres();
    await start(postgres);
    await run({
      ...SIZE,
      seed: 13,
      disconnects: 300,
      outages: [
        { afterDisconnects: 60, run: () => postgres.stop().then(() => postgres.start()) },
        { afterDisconnects: 160, run: () => postgres.crash().then(() => postgres.start()) },
      ],
    });
  });

  it.runIf(hasRedis)('while Redis, which carries the wake-ups, is killed and started again', async () => {
    redis = await createRedisProcess();
    await redis.start();
    await start(await createTestDatabase(), { REDIS_URL: redis.url });
    await run({
      ...SIZE,
      seed: 14,
      disconnects: 300,
      outages: [
        { afterDisconnects: 60, run: async () => redis?.stop() },
        { afterDisconnects: 150, run: async () => redis?.start() },
      ],
    });
  });
});
