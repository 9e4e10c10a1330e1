import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChildServer, startChildServer } from '../../scripts/bench/child-server.ts';
import { createLiveWorkloads, formatLiveTable, measureLive } from '../../scripts/bench/live-workload.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let server: ChildServer;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startChildServer('sessiongraph-server', { databaseUrl: database.url, poolSize: 5 });
});

afterAll(async () => {
  await server?.close();
  await database?.close();
});

describe('the benchmark of live events, with few subscribers', () => {
  it.each(createLiveWorkloads(10).map(workload => [workload.title, workload] as const))(
    'delivers every event of the workload "%s"',
    async (title, workload) => {
      const result = await measureLive(workload, server, database.url);
      expect(result.deliveriesPerSecond).toBeGreaterThan(0);
      expect(result.cpuMicrosPerDelivery).toBeGreaterThanOrEqual(0);
      expect(result.sinceSent.p99Ms).toBeGreaterThanOrEqual(result.sinceSent.p50Ms);
      expect(result.sinceSent.p50Ms).toBeGreaterThan(0);
      expect(formatLiveTable([result])).toContain(`| W8 ${title} | `);
    },
  );
});
