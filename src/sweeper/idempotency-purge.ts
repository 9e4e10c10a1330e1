import { Prisma } from '../generated/prisma/client.ts';
import { KEPT_HOURS } from '../modules/idempotency/idempotency.rules.ts';
import { type Executor, PREPARED } from '../postgres/database.ts';
import type { BatchOutcome } from './row-batch.ts';

const BATCH = 1_000;

/** Removes one batch of the keys whose time is over, the oldest first; those in use just now are left for the next time. */
export async function sweepIdempotencyKeys(database: Executor, batch = BATCH): Promise<BatchOutcome> {
  const swept = await database.rows(Prisma.sql`${Prisma.raw(PREPARED)}
    with expired as materialized (
      select viewer_id, key from aria_engine.idempotency_keys
      where created_at <= now() - interval '1 hour' * ${KEPT_HOURS}::int
      order by created_at limit ${batch}::int for update skip locked
    )
    delete from aria_engine.idempotency_keys k using expired where k.viewer_id = expired.viewer_id and k.key = expired.key
    returning 1 as swept`);
  return { taken: swept.length, failed: [], more: swept.length === batch };
}
