import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Logger } from '../log.ts';
import { type DedicatedConnection, openDedicatedConnection } from '../postgres/dedicated-connection.ts';
import type { BatchOutcome, FailedRow } from './row-batch.ts';

/** Of the whole database: whoever holds it sweeps. */
const SWEEPER_LOCK = Prisma.raw('7305021103');

const STATEMENT_TIMEOUT_MS = 120_000;
/** A process that is frozen this long is no longer the one that sweeps. */
const IDLE_TIMEOUT_MS = 10_000;
/** How soon another takes over, and how often the connection is seen to be alive. */
const RETRY_MS = 1_000;
/** Between two batches, so that a long sweep leaves the database to those who wait for answers. */
const PAUSE_MS = 20;
/** A batch under way when the end begins may take this long; then it is rolled back. */
const GOODBYE_MS = 1_500;
/** A row that could not be taken is left alone for so long. */
const REST_MS = 600_000;
/** Where more rows than this cannot be taken, it is the task that has failed. */
const MOST_RESTING = 1_000;
/** Beyond, rows that could not be taken are only counted in the log. */
const MOST_NAMED = 10;

/** Something to be swept, again and again. Every batch must be harmless where another server does the same at the same time. */
export interface SweepTask {
  /** One of a small fixed set: a label of metrics. */
  readonly name: string;
  readonly everyMs: number;
  /** Whether it is due as soon as this server begins to sweep, or only after `everyMs`. */
  readonly atOnce: boolean;
  /**
   * Takes one batch, in a short transaction.
   * @param skip ids of rows that have failed of late, and are to be left out
   * @throws where it cannot be done at all; it is tried again after `everyMs`
   */
  sweep(connection: DedicatedConnection, skip: readonly string[]): Promise<BatchOutcome>;
}

/** Told what the sweeper does, for metrics. */
export interface SweepObserver {
  /** Whether this server is the one that sweeps. */
  sweeping(active: boolean): void;
  /** One batch has ended. */
  swept(report: { readonly task: string; readonly taken: number; readonly failed: number; readonly durationMs: number }): void;
}

/** What a sweeper needs. */
export interface SweeperOptions {
  readonly url: string;
  readonly tasks: readonly SweepTask[];
  readonly observer: SweepObserver;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/** A sweep through all there is of one task. */
interface Run {
  readonly beganAt: number;
  taken: number;
  failed: number;
}

interface Schedule {
  readonly task: SweepTask;
  dueAt: number;
  /** Null between two sweeps. */
  run: Run | null;
  /** Ids that failed, to when they may be tried again. */
  readonly resting: Map<string, number>;
}

/**
 * Starts the sweeper of this process. Of all processes on a database the one that holds an advisory lock sweeps; the others ask for it
 * every second. All its work goes over the very connection whose session holds the lock: when that breaks the work ends with it,
 * before another begins. Trouble is logged and tried again, and never ends it.
 * @returns the function that stops it, which resolves when the batch under way has ended, or after a bounded time been given up
 */
export function startSweeper({ url, tasks, observer, log }: SweeperOptions): () => Promise<void> {
  const stopping = new AbortController();
  let connection: DedicatedConnection | null = null;
  let away = false;

  const pause = (milliseconds: number) => delay(milliseconds, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        connection = await openDedicatedConnection({
          url,
          name: 'sessiongraph sweeper',
          statementTimeoutMs: STATEMENT_TIMEOUT_MS,
          idleTimeoutMs: IDLE_TIMEOUT_MS,
        });
        if (away) log.info('the sweeper reaches the database again');
        away = false;
        await serve(connection);
      } catch (error) {
        if (!away && !stopping.signal.aborted) log.warn({ reason: reasonOf(error) }, 'the sweeper cannot reach the database');
        away = true;
      } finally {
        observer.sweeping(false);
        await connection?.close();
        connection = null;
      }
      await pause(RETRY_MS);
    }
  }

  async function serve(on: DedicatedConnection): Promise<void> {
    while (!stopping.signal.aborted) {
      // Waiting for it in the server would hold back vacuum for as long.
      const [answer] = await on.rows<{ ours: boolean }>(Prisma.sql`select pg_try_advisory_lock(${SWEEPER_LOCK}) as ours`);
      if (answer?.ours === true) break;
      await pause(RETRY_MS);
    }
    if (stopping.signal.aborted) return;
    log.info('this server sweeps from now on');
    observer.sweeping(true);
    const now = performance.now();
    const schedules = tasks.map<Schedule>(task => ({
      task,
      dueAt: task.atOnce ? now : now + task.everyMs,
      run: null,
      resting: new Map(),
    }));
    while (!stopping.signal.aborted) {
      const due = schedules.filter(({ dueAt }) => dueAt <= performance.now());
      // One batch of each in turn: a long sweep of one holds up no other.
      for (const schedule of due) {
        if (stopping.signal.aborted) return;
        await sweepBatch(on, schedule);
        await pause(PAUSE_MS);
      }
      if (due.length > 0) continue;
      const next = Math.min(...schedules.map(({ dueAt }) => dueAt)) - performance.now();
      await pause(Math.max(1, Math.min(next, RETRY_MS)));
      await on.rows(Prisma.sql`select 1`);
    }
  }

  async function sweepBatch(on: DedicatedConnection, schedule: Schedule): Promise<void> {
    const { task, resting } = schedule;
    const begun = performance.now();
    schedule.run ??= { beganAt: begun, taken: 0, failed: 0 };
    const { run } = schedule;
    for (const [id, until] of resting) if (until <= begun) resting.delete(id);
    let more = false;
    try {
      const outcome = await task.sweep(on, [...resting.keys()]);
      for (const { id } of outcome.failed) resting.set(id, performance.now() + REST_MS);
      for (const row of outcome.failed) tellFailure(task, run, row);
      run.taken += outcome.taken;
      observer.swept({ task: task.name, taken: outcome.taken, failed: outcome.failed.length, durationMs: performance.now() - begun });
      more = outcome.more && resting.size <= MOST_RESTING;
    } catch (error) {
      if (on.lost.aborted) throw error;
      observer.swept({ task: task.name, taken: 0, failed: 1, durationMs: performance.now() - begun });
      log.warn({ task: task.name, err: error }, 'could not be swept; it is tried again');
    }
    if (more) return;
    if (run.taken + run.failed > 0) {
      const durationMs = Math.round(performance.now() - run.beganAt);
      log.info({ task: task.name, taken: run.taken, failed: run.failed, durationMs }, 'swept');
    }
    schedule.run = null;
    schedule.dueAt = performance.now() + task.everyMs;
  }

  function tellFailure(task: SweepTask, run: Run, { id, error }: FailedRow): void {
    run.failed += 1;
    if (run.failed <= MOST_NAMED) log.warn({ task: task.name, id, err: error }, 'a row could not be swept; it is left alone for a while');
  }

  const running = run();
  return async () => {
    stopping.abort();
    const patience = new AbortController();
    const tooLong = delay(GOODBYE_MS, true, { signal: patience.signal }).catch(() => false);
    const isTooLong = await Promise.race([running.then(() => false), tooLong]);
    patience.abort();
    if (isTooLong) connection?.cut();
    await running;
  };
}
