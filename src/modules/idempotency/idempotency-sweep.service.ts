import type { Logger } from 'pino';
import { type Executor, PREPARED } from '../../database/database.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { KEPT_HOURS } from './idempotency.rules.ts';

/** Serialises the sweeping of all servers. Any number of ours. */
const SWEEP_LOCK = Prisma.raw('7305021102');
const BATCH = 1_000;
const INTERVAL_MS = 5 * 60_000;

/**
 * Removes one batch of the keys whose time is over, the oldest first, unless another server is at it.
 * @returns whether there may be more
 */
export async function sweepIdempotencyKeys(database: Executor, batch = BATCH): Promise<boolean> {
  const swept = await database.rows(Prisma.sql`${Prisma.raw(PREPARED)}
    with turn as materialized (
      select pg_try_advisory_xact_lock(${SWEEP_LOCK}) as ours
    ), expired as materialized (
      select viewer_id, key from aria_engine.idempotency_keys
      where (select ours from turn) and created_at <= now() - interval '1 hour' * ${KEPT_HOURS}::int
      order by created_at limit ${batch} for update skip locked
    )
    delete from aria_engine.idempotency_keys k using expired where k.viewer_id = expired.viewer_id and k.key = expired.key
    returning 1 as swept`);
  return swept.length === batch;
}

export interface IdempotencySweepOptions {
  readonly database: Executor;
  readonly log: Pick<Logger, 'warn'>;
  readonly intervalMs?: number;
}

/**
 * Sweeps every five minutes, all there is.
 * @returns the function that stops it, which resolves when a batch under way has ended
 */
export function startIdempotencySweep({ database, log, intervalMs = INTERVAL_MS }: IdempotencySweepOptions): () => Promise<void> {
  let running = Promise.resolve();
  let stopped = false;
  const sweep = async () => {
    while (!stopped && (await sweepIdempotencyKeys(database)));
  };
  const timer = setInterval(() => {
    running = running.then(sweep).catch(error => log.warn({ err: error }, 'idempotency keys could not be swept; next try in a while'));
  }, intervalMs);
  timer.unref();
  return async () => {
    stopped = true;
    clearInterval(timer);
    await running;
  };
}
