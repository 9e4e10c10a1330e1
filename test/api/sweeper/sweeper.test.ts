import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import type { BatchOutcome } from '../../../src/sweeper/row-batch.ts';
import { type SweepTask, startSweeper } from '../../../src/sweeper/sweeper.ts';
import { startTestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { runSql } from '../../support/sql.ts';
import { startRestartablePostgres } from '../steady/restartable-postgres.ts';
import { LOCK_HOLDER_SQL, readMetric, sweeperLockHolders, terminateSweeperConnection } from './sweeper-state.ts';

let database: TestDatabase;
let lines: Record<string, unknown>[];
let reports: { readonly task: string; readonly taken: number; readonly failed: number }[];
let leftovers: (() => Promise<unknown>)[];

beforeEach(async () => {
  database = await createTestDatabase();
  lines = [];
  reports = [];
  leftovers = [];
});

afterEach(async () => {
  for (const dispose of leftovers.reverse()) await dispose();
  await database.close();
});

const NOTHING_SWEPT: BatchOutcome = { taken: 0, failed: [], more: false };

function task(name: string, sweep: SweepTask['sweep'], everyMs = 50): SweepTask {
  return { name, everyMs, runsAtStart: true, sweep };
}

/** Starts a sweeper with these tasks. Returns the function that stops it. */
function start(...tasks: readonly SweepTask[]): () => Promise<void> {
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const observer = { sweeping: () => undefined, swept: (report: (typeof reports)[number]) => void reports.push(report) };
  const stop = startSweeper({ url: database.url, tasks, observer, log });
  leftovers.push(stop);
  return stop;
}

/** Returns the sweep function of a task that only calls `onSweep`. */
function calling(onSweep: () => void): SweepTask['sweep'] {
  return async () => {
    onSweep();
    return NOTHING_SWEPT;
  };
}

describe('startSweeper', () => {
  it('runs the tasks of one of four sweepers at a time, on the connection that holds the lock', async () => {
    const backends = new Set<number>();
    let withoutLock = 0;
    const work = task('work', async connection => {
      const rows = await connection.rows<{ own: number; holder: number }>(
        Prisma.sql`select pg_backend_pid() as own, holder.pid as holder from (${Prisma.raw(LOCK_HOLDER_SQL)}) holder`,
      );
      for (const { own, holder } of rows) backends.add(own === holder ? own : Number.NaN);
      if (rows.length !== 1) withoutLock += 1;
      return NOTHING_SWEPT;
    });
    for (let number = 0; number < 4; number += 1) start(work);
    for (let round = 1; round <= 4; round += 1) {
      await expect.poll(() => backends.size).toBe(round);
      await terminateSweeperConnection(database.url);
    }
    expect(backends).not.toContain(Number.NaN);
    expect(withoutLock).toBe(0);
  });

  it('lets the next sweeper take over when one stops', async () => {
    const swept: string[] = [];
    const stopFirst = start(
      task(
        'first',
        calling(() => void swept.push('first')),
      ),
    );
    await expect.poll(() => swept.length).toBeGreaterThan(0);
    start(
      task(
        'second',
        calling(() => void swept.push('second')),
      ),
    );
    await stopFirst();
    const number = swept.length;
    await expect.poll(() => swept.slice(number)).toContain('second');
    expect(swept.slice(number)).not.toContain('first');
  });

  it('can be stopped during a long batch, and then releases the lock', async () => {
    let started = false;
    const stop = start(
      task('long', async connection => {
        started = true;
        await connection.rows(Prisma.sql`select pg_sleep(100)`);
        return NOTHING_SWEPT;
      }),
    );
    await expect.poll(() => started).toBe(true);
    await stop();
    await expect.poll(() => sweeperLockHolders(database.url)).toEqual([]);
    expect(lines.map(({ msg }) => msg)).toEqual(['this server sweeps from now on']);
  });
});

describe('a sweeper task', () => {
  it('that fails is logged, reported and retried, and does not stop the other tasks', async () => {
    let tries = 0;
    const swept: string[] = [];
    start(
      task('broken', async connection => {
        tries += 1;
        if (tries < 3) await connection.rows(Prisma.sql`select 1 / 0`);
        return { ...NOTHING_SWEPT, taken: 1 };
      }),
      task(
        'fine',
        calling(() => void swept.push('fine')),
      ),
    );
    await expect.poll(() => reports.some(({ task: name, taken }) => name === 'broken' && taken === 1)).toBe(true);
    expect(swept.length).toBeGreaterThanOrEqual(2);
    expect(reports.filter(({ task: name, failed }) => name === 'broken' && failed === 1)).toHaveLength(2);
    expect(lines.filter(({ task: name, msg }) => name === 'broken' && msg === 'cannot sweep; will retry')).toHaveLength(2);
    expect(lines).toContainEqual(expect.objectContaining({ task: 'broken', msg: 'swept', taken: 1 }));
  });

  it('skips a row that failed for the rest of the sweep, and no other row', async () => {
    const skipped: (readonly string[])[] = [];
    start(
      task('rows', async (_connection, skip) => {
        skipped.push(skip);
        const isFirst = skipped.length === 1;
        return { taken: 1, failed: isFirst ? [{ id: 'bad', error: new Error('refused') }] : [], more: skipped.length < 4 };
      }),
    );
    await expect.poll(() => lines.some(({ msg }) => msg === 'swept')).toBe(true);
    expect(skipped.slice(0, 4)).toEqual([[], ['bad'], ['bad'], ['bad']]);
    expect(lines.filter(({ id }) => id === 'bad')).toHaveLength(1);
    expect(lines).toContainEqual(expect.objectContaining({ task: 'rows', msg: 'swept', taken: 4, failed: 1 }));
  });

  it('with many batches does not delay other tasks', async () => {
    let batches = 0;
    const others: number[] = [];
    start(
      task('endless', async () => ({ taken: ++batches, failed: [], more: true })),
      task(
        'other',
        calling(() => void others.push(batches)),
        1,
      ),
    );
    await expect.poll(() => others.length).toBeGreaterThan(3);
    expect(others.at(-1)).toBeGreaterThan(0);
  });
});

describe('servers that share a database', () => {
  const active = async (url: string) => (await readMetric(url, 'sessiongraph_sweeper_active'))[''];

  it('have one active sweeper, shown in its metrics; another server takes over when it stops', async () => {
    const first = await startTestApp({ databaseUrl: database.url });
    leftovers.push(() => first.close());
    await expect.poll(() => active(first.url)).toBe(1);
    const second = await startTestApp({ databaseUrl: database.url, env: { STALLED_AFTER: '1h' } });
    leftovers.push(() => second.close());
    expect(await active(second.url)).toBe(0);
    expect(await sweeperLockHolders(database.url)).toHaveLength(1);
    await first.close();
    await expect.poll(() => active(second.url)).toBe(1);
    await second.gql('mutation { createSession(input: { status: WORKING }) { session { id } } }');
    await runSql(database.url, "update aria_engine.chat_session_activity set last_activity_at = now() - interval '2 hours'");
    const status = () => runSql<{ status: string }>(database.url, 'select status::text as status from aria_engine.chat_sessions');
    await expect.poll(status).toEqual([{ status: 'STALLED' }]);
    await expect.poll(() => readMetric(second.url, 'sessiongraph_swept_total')).toMatchObject({ 'task="stalled_sessions"': 1 });
  });

  it('sweep again after a database outage, and log each outage once', async () => {
    const postgres = await startRestartablePostgres();
    leftovers.push(() => postgres.close());
    const app = await startTestApp({ databaseUrl: postgres.url, env: { STALLED_AFTER: '1h' } });
    leftovers.push(() => app.close());
    await app.gql('mutation { createSession(input: { status: WORKING }) { session { id } } }');
    await expect.poll(() => active(app.url)).toBe(1);
    const linesOf = (text: string) => app.log.filter(({ msg }) => msg === text);
    for (const how of ['stop', 'crash'] as const) {
      const before = linesOf('the sweeper cannot reach the database').length;
      await postgres[how]();
      await expect.poll(() => linesOf('the sweeper cannot reach the database').length).toBe(before + 1);
      expect(await active(app.url)).toBe(0);
      await postgres.start();
      await expect.poll(() => active(app.url)).toBe(1);
      await expect.poll(() => linesOf('the sweeper reaches the database again').length).toBe(before + 1);
    }
    await runSql(postgres.url, "update aria_engine.chat_session_activity set last_activity_at = now() - interval '2 hours'");
    const status = () => runSql<{ status: string }>(postgres.url, 'select status::text as status from aria_engine.chat_sessions');
    await expect.poll(status).toEqual([{ status: 'STALLED' }]);
  });
});
