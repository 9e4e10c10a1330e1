import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Logger } from '../log.ts';
import { type DedicatedConnection, openDedicatedConnection } from '../postgres/dedicated-connection.ts';
import type { BatchOutcome, FailedRow } from './row-batch.ts';

/** The key of an advisory lock. The process that holds it is the one that sweeps this database. */
const SWEEPER_LOCK = Prisma.raw('7305021103');

const STATEMENT_TIMEOUT_MS = 120_000;
/** If the process is frozen for this long, Postgres closes the connection and another process sweeps. */
const IDLE_TIMEOUT_MS = 10_000;
/** Pause between attempts to get the lock, and between checks that the connection is alive. */
const RETRY_MS = 1_000;
/** Pause between two batches, so that a long sweep does not slow down requests. */
const PAUSE_MS = 20;
/** When the sweeper stops, the current batch may take this much longer. Then it is rolled back. */
const STOP_TIMEOUT_MS = 1_500;
/** A row that failed is left out for this long. */
const FAILED_ROW_PAUSE_MS = 600_000;
/** If more rows than this have failed, the task itself is broken, so the sweep ends. */
const MAX_FAILED_ROWS = 1_000;
/** In each sweep, only this many failed rows are logged. */
const MAX_LOGGED_ROWS = 10;

/** Something to do again and again. A batch must do no harm if another server runs the same one at the same time. */
export interface SweepTask {
  /** One of a small fixed set, because it is a label in the metrics. */
  readonly name: string;
  readonly everyMs: number;
  /** True to run as soon as this process sweeps, false to wait for `everyMs` first. */
  readonly runsAtStart: boolean;
  /**
   * Sweeps one batch, in short transactions.
   * @param skip ids of rows that failed a short time ago and must be left out
   * @throws if the batch cannot be swept; the task then waits for `everyMs`
   */
  sweep(connection: DedicatedConnection, skip: readonly string[]): Promise<BatchOutcome>;
}

/** Receives what the sweeper does, for metrics. */
export interface SweepObserver {
  /** Called when this process becomes the one that sweeps (true), or no longer is (false). */
  sweeping(active: boolean): void;
  /** Called after each batch. */
  swept(report: { readonly task: string; readonly taken: number; readonly failed: number; readonly durationMs: number }): void;
}

export interface SweeperOptions {
  readonly url: string;
  readonly tasks: readonly SweepTask[];
  readonly observer: SweepObserver;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/** One sweep of a task: all its batches until nothing is left. */
interface Sweep {
  readonly startedAt: number;
  taken: number;
  failed: number;
}

interface Schedule {
  readonly task: SweepTask;
  dueAt: number;
  /** Null between two sweeps. */
  sweep: Sweep | null;
  /** Ids of rows that failed, with the time from which they may be tried again. */
  readonly failedRows: Map<string, number>;
}

/**
 * Starts the sweeper of this process. Among all processes on a database, the one that holds an advisory lock sweeps; the others try to get
 * the lock every second. All work uses the connection that holds the lock: if the connection breaks, the work ends before another process
 * gets the lock. Errors are logged and never end the sweeper.
 * @returns the function that stops it; it resolves when the current batch has ended, or after a timeout was rolled back
 */
export function startSweeper({ url, tasks, observer, log }: SweeperOptions): () => Promise<void> {
  const stopping = new AbortController();
  let connection: DedicatedConnection | null = null;
  let isUnreachable = false;

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
        if (isUnreachable) log.info('the sweeper reaches the database again');
        isUnreachable = false;
        await sweepOn(connection);
      } catch (error) {
        if (!isUnreachable && !stopping.signal.aborted) log.warn({ reason: reasonOf(error) }, 'the sweeper cannot reach the database');
        isUnreachable = true;
      } finally {
        observer.sweeping(false);
        await connection?.close();
        connection = null;
      }
      await pause(RETRY_MS);
    }
  }

  /** Waits for the lock, then sweeps until the sweeper stops. Throws if the connection is lost. */
  async function sweepOn(current: DedicatedConnection): Promise<void> {
    while (!stopping.signal.aborted) {
      // A statement that waits for the lock would keep VACUUM from removing dead rows.
      const [row] = await current.rows<{ locked: boolean }>(Prisma.sql`select pg_try_advisory_lock(${SWEEPER_LOCK}) as locked`);
      if (row?.locked === true) break;
      await pause(RETRY_MS);
    }
    if (stopping.signal.aborted) return;
    log.info('this server sweeps from now on');
    observer.sweeping(true);
    const now = performance.now();
    const schedules = tasks.map<Schedule>(task => ({
      task,
      dueAt: task.runsAtStart ? now : now + task.everyMs,
      sweep: null,
      failedRows: new Map(),
    }));
    while (!stopping.signal.aborted) {
      const due = schedules.filter(({ dueAt }) => dueAt <= performance.now());
      // One batch of each task in turn, so that a long sweep does not delay other tasks.
      for (const schedule of due) {
        if (stopping.signal.aborted) return;
        await sweepBatch(current, schedule);
        await pause(PAUSE_MS);
      }
      if (due.length > 0) continue;
      const next = Math.min(...schedules.map(({ dueAt }) => dueAt)) - performance.now();
      await pause(Math.max(1, Math.min(next, RETRY_MS)));
      await current.rows(Prisma.sql`select 1`);
    }
  }

  async function sweepBatch(current: DedicatedConnection, schedule: Schedule): Promise<void> {
    const { task, failedRows } = schedule;
    const startedAt = performance.now();
    schedule.sweep ??= { startedAt, taken: 0, failed: 0 };
    const { sweep } = schedule;
    for (const [id, until] of failedRows) if (until <= startedAt) failedRows.delete(id);
    let more = false;
    try {
      const outcome = await task.sweep(current, [...failedRows.keys()]);
      for (const { id } of outcome.failed) failedRows.set(id, performance.now() + FAILED_ROW_PAUSE_MS);
      for (const row of outcome.failed) logFailedRow(task, sweep, row);
      sweep.taken += outcome.taken;
      observer.swept({ task: task.name, taken: outcome.taken, failed: outcome.failed.length, durationMs: performance.now() - startedAt });
      more = outcome.more && failedRows.size <= MAX_FAILED_ROWS;
    } catch (error) {
      if (current.lost.aborted) throw error;
      observer.swept({ task: task.name, taken: 0, failed: 1, durationMs: performance.now() - startedAt });
      log.warn({ task: task.name, err: error }, 'cannot sweep; will retry');
    }
    if (more) return;
    if (sweep.taken + sweep.failed > 0) {
      const durationMs = Math.round(performance.now() - sweep.startedAt);
      log.info({ task: task.name, taken: sweep.taken, failed: sweep.failed, durationMs }, 'swept');
    }
    schedule.sweep = null;
    schedule.dueAt = performance.now() + task.everyMs;
  }

  function logFailedRow(task: SweepTask, sweep: Sweep, { id, error }: FailedRow): void {
    sweep.failed += 1;
    if (sweep.failed <= MAX_LOGGED_ROWS) log.warn({ task: task.name, id, err: error }, 'cannot sweep a row; will retry later');
  }

  const running = run();
  return async () => {
    stopping.abort();
    const timer = new AbortController();
    const timeout = delay(STOP_TIMEOUT_MS, true, { signal: timer.signal }).catch(() => false);
    const isTooLong = await Promise.race([running.then(() => false), timeout]);
    timer.abort();
    if (isTooLong) connection?.cut();
    await running;
  };
}
