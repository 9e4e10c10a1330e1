import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startRestartablePostgres } from '../api/steady/restartable-postgres.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let app: TestApp;
let client: pg.Client;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  app = await startTestApp();
  client = new pg.Client(app.databaseUrl);
  await client.connect();
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await client?.end();
});

/** Runs `npm run seed -- --live` in a separate process, by default on the database of the test app. */
function startLiveSeed(url = app.databaseUrl) {
  const args = ['--import', 'tsx', 'scripts/seed.ts', '--live', '--sessions', '20', '--messages', '3', '--pace', '100'];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, DATABASE_URL: url, LOG_LEVEL: 'silent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  const exited = once(child, 'close').then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { output: () => output, exited, kill: (signal: NodeJS.Signals) => child.kill(signal) };
}

async function rows<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]> {
  return (await client.query<Row>(sql)).rows;
}

const LIVE = `metadata->>'source' = 'seed --live'`;

const countLive = async (condition: string) =>
  (await rows<{ count: number }>(`select count(*)::int as count from aria_engine.chat_sessions where ${LIVE} and ${condition}`))[0]
    ?.count ?? 0;

describe('npm run seed -- --live', () => {
  it('seeds an empty database, then changes sessions until SIGINT, in a way that subscribers of a running server see', async () => {
    const subscription = await app.subscribe<{ sessionEvents: { __typename: string } }>('subscription { sessionEvents { __typename } }');
    const seed = startLiveSeed();
    const seen = new Set<string>();
    const wanted = ['SessionCreatedEvent', 'SessionUpdatedEvent', 'SessionStatusChangedEvent', 'MessageAddedEvent'];
    while (!wanted.every(type => seen.has(type))) seen.add((await subscription.next()).sessionEvents.__typename);
    await vi.waitUntil(async () => (await countLive('ended_at is not null')) > 0, WAIT_OPTIONS);
    seed.kill('SIGINT');
    expect(await seed.exited, seed.output()).toBe(0);
    expect(seed.output()).toContain('Wrote 20 sessions with 60 messages');
    expect(seed.output()).toMatch(/Stopped after \d+ changes\./);
    expect(await countLive('ended_at is null')).toBe(0);
    await subscription.close();
  });

  it('can be started again, does not seed again, and exits once although npm repeats the signal', async () => {
    const before = await countLive('true');
    const seed = startLiveSeed();
    await vi.waitUntil(async () => (await countLive('true')) > before + 3, WAIT_OPTIONS);
    seed.kill('SIGINT');
    seed.kill('SIGINT');
    expect(await seed.exited, seed.output()).toBe(0);
    expect(seed.output()).toContain('The database has sessions of seed 1 already.');
    expect(await countLive('ended_at is null')).toBe(0);
  });

  it('goes on if another caller ends or deletes its sessions', async () => {
    const seed = startLiveSeed();
    await vi.waitUntil(async () => (await countLive('ended_at is null')) > 3, WAIT_OPTIONS);
    const open = await rows<{ id: string }>(`select id from aria_engine.chat_sessions where ${LIVE} and ended_at is null`);
    for (const [index, { id }] of open.entries()) {
      const mutation =
        index % 2 === 0 ? 'endSession(input: { id: $id }) { session { id } }' : 'deleteSession(input: { id: $id }) { deletedId }';
      (await app.gql(`mutation ($id: ID!) { ${mutation} }`, { id })).expectOk();
    }
    const after = await countLive('true');
    await vi.waitUntil(async () => (await countLive('true')) > after + 3, WAIT_OPTIONS);
    seed.kill('SIGINT');
    expect(await seed.exited, seed.output()).toBe(0);
  });

  it('exits with code 1 and one line when it loses its database', async () => {
    const postgres = await startRestartablePostgres();
    try {
      const seed = startLiveSeed(postgres.url);
      await vi.waitUntil(() => seed.output().includes('Ctrl-C'), WAIT_OPTIONS);
      await postgres.stop();
      expect(await seed.exited).toBe(1);
      expect(seed.output()).toMatch(
        /stops\.\n+The connection to the database was lost \(.+\)\. Start the database and run this command again\.\n$/,
      );
    } finally {
      await postgres.close();
    }
  });
});
