import { Prisma } from '../../generated/prisma/client.ts';
import { KEPT_HOURS } from '../../modules/idempotency/idempotency.rules.ts';
import { type Executor, PREPARED } from '../../postgres/database.ts';
import type { BatchOutcome } from '../row-batch.ts';

const BATCH = 1_000;

/** Removes a batch of expired idempotency keys, the oldest first. Keys that a call has locked are left for the next batch. */
export async function purgeIdempotencyKeys(database: Executor, batch = BATCH): Promise<BatchOutcome> {
  const removed = await database.rows(Prisma.sql`${Prisma.raw(PREPARED)}
    with expired as materialized (
      select viewer_id, key from aria_engine.idempotency_keys
      where created_at <= now() - interval '1 hour' * ${KEPT_HOURS}::int
      order by created_at limit ${batch}::int for update skip locked
    )
    delete from aria_engine.idempotency_keys k using expired where k.viewer_id = expired.viewer_id and k.key = expired.key
    returning 1 as removed`);
  return { taken: removed.length, failed: [], more: removed.length === batch };
}
