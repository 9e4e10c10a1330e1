import { afterEach, describe, expect, it } from 'vitest';
import { type RestartablePostgres, startRestartablePostgres } from '../api/steady/restartable-postgres.ts';
import { type ChaosPlan, runChaos } from '../process/chaos/chaos-run.ts';
import { type ChaosServers, startChaosServers } from '../process/chaos/chaos-servers.ts';
import { stopServers } from '../process/server-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createRedisProcess, hasRedis, type RedisProcess } from './redis-process.ts';

const CROWD = { writers: 10, subscribers: 50, cutEveryMs: 40, holdMs: null };

let servers: ChaosServers;
let database: TestDatabase | RestartablePostgres | null = null;
let redis: RedisProcess | null = null;

async function start(on: TestDatabase | RestartablePostgres, variables: Readonly<Record<string, string>> = {}): Promise<void> {
  database = on;
  servers = await startChaosServers(2, { DATABASE_URL: on.url, DATABASE_POOL: '10', ...variables });
}

afterEach(async () => {
  await stopServers();
  await database?.close();
  database = null;
  await redis?.stop();
  redis = null;
});

async function run(plan: Omit<ChaosPlan, 'servers' | 'databaseUrl'>): Promise<void> {
  const { cuts, connections } = await runChaos({ ...plan, servers, databaseUrl: database?.url ?? '' });
  expect(Object.values(cuts).reduce((sum, count) => sum + count)).toBe(plan.cuts);
  expect(connections).toBeGreaterThanOrEqual(plan.subscribers + plan.cuts);
  await servers.close();
}

describe('50 subscribers of two servers are told all that 10 writers do, once and in order,', () => {
  it('when connections are cut 1,000 times, and one transaction stays open for seconds', async () => {
    await start(await createTestDatabase());
    await run({ ...CROWD, seed: 11, cuts: 1_000, holdMs: 5_000 });
  });

  it('when servers are killed, told to stop, and started again', async () => {
    await start(await createTestDatabase());
    const again = (index: number, signal: 'SIGKILL' | 'SIGTERM') => async () => {
      await servers.end(index, signal);
      await servers.start(index);
    };
    await run({
      ...CROWD,
      seed: 12,
      cuts: 400,
      troubles: [
        { afterCuts: 60, befall: again(0, 'SIGKILL') },
        { afterCuts: 160, befall: again(1, 'SIGKILL') },
        { afterCuts: 260, befall: again(0, 'SIGTERM') },
      ],
    });
  });

  it('when Postgres is stopped and crashes, and is started again', async () => {
    const postgres = await startRestartablePostgres();
    await start(postgres);
    await run({
      ...CROWD,
      seed: 13,
      cuts: 300,
      troubles: [
        { afterCuts: 60, befall: () => postgres.stop().then(() => postgres.start()) },
        { afterCuts: 160, befall: () => postgres.crash().then(() => postgres.start()) },
      ],
    });
  });

  it.runIf(hasRedis)('when Redis, which wakes them, is killed and started again', async () => {
    redis = await createRedisProcess();
    await redis.start();
    await start(await createTestDatabase(), { REDIS_URL: redis.url });
    await run({
      ...CROWD,
      seed: 14,
      cuts: 300,
      troubles: [
        { afterCuts: 60, befall: async () => redis?.stop() },
        { afterCuts: 150, befall: async () => redis?.start() },
      ],
    });
  });
});
