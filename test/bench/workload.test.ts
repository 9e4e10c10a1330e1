import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChildServer, startChildServer } from '../../scripts/bench/child-server.ts';
import { formatResults, measure } from '../../scripts/bench/measurement.ts';
import { createWorkloads } from '../../scripts/bench/workload.ts';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions, type SeedSession } from '../../scripts/seed/session-generator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const KEYS = { defaultAgent: 'main', mainKey: 'main' };
const PLAN = { rounds: 1, roundMs: 100, warmUpMs: 20 };

const sessions = [...generateSessions({ sessions: 120, messages: 60, seed: 1, until: new Date('2026-03-01T12:00:00.000Z'), keys: KEYS })];
const idsOf = (chosen: (of: SeedSession) => boolean) =>
  sessions.filter(of => of.activity.listed && chosen(of)).map(({ session }) => session.id);
const workloads = createWorkloads({
  sessionIds: idsOf(() => true),
  places: [{ at: '2026-02-28 12:00:00+00', id: '00000000-0000-7000-8000-000000000000' }],
  openSessionIds: idsOf(({ session }) => session.status === 'ACTIVE'),
  rareTerm: 'concurrently',
  commonTerm: 'index',
});

let database: TestDatabase;
const servers: ChildServer[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  const client = new pg.Client(database.url);
  await client.connect();
  await writeSessions(client, sessions, KEYS);
  await client.end();
  for (const name of ['raw-server', 'sessiongraph-server'])
    servers.push(await startChildServer(name, { databaseUrl: database.url, poolSize: 5 }));
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await database?.close();
});

describe('the benchmark, with short rounds', () => {
  it.each(workloads.map(workload => [`${workload.name} ${workload.title}`, workload] as const))(
    'measures %s, for which both servers give the same response',
    async (_, workload) => {
      const [raw, ours] = servers;
      if (raw === undefined || ours === undefined) throw new Error('The servers did not start.');
      const result = await measure(workload, { raw, ours }, PLAN);
      expect(result.raw.requests).toBeGreaterThan(0);
      expect(result.ours.requests).toBeGreaterThan(0);
      expect(result.ours.cpuMsPerRequest).toBeGreaterThanOrEqual(0);
      expect(formatResults([result])).toContain(`| ${workload.name} ${workload.title} | `);
    },
  );
});
