import { Prisma } from '../../generated/prisma/client.ts';
import { removeSession } from '../../modules/session-mutation/session-trash.service.ts';
import type { Transactor } from '../../postgres/database.ts';
import { type BatchOutcome, type RowBatch, sweepOneByOne } from '../row-batch.ts';

/**
 * Permanently removes a batch of sessions that were in the trash for `trashDays`, the oldest first. Each is removed with its messages, of
 * which there may be many, in its own transaction. Sessions that another transaction has locked, such as a restore, are left out.
 */
export async function purgeTrash(database: Transactor, trashDays: number, batch: RowBatch): Promise<BatchOutcome> {
  const isExpired = Prisma.sql`deleted_at <= now() - interval '1 day' * ${trashDays}::int`;
  const found = await database.rows<{ id: string }>(Prisma.sql`
    select id from aria_engine.chat_sessions where ${isExpired} and id <> all(${[...batch.skip]}::uuid[])
    order by deleted_at, id limit ${batch.size}::int`);
  const purge = ([id]: readonly string[]) =>
    database.transaction(async transaction => {
      const [session] = await transaction.rows<{ id: string; agentId: string }>(Prisma.sql`
        select id, agent_id as "agentId" from aria_engine.chat_sessions where id = ${id}::uuid and ${isExpired} for update skip locked`);
      if (session === undefined) return 0;
      await removeSession(transaction, session);
      return 1;
    });
  const { taken, failed } = await sweepOneByOne(
    found.map(({ id }) => id),
    purge,
    batch.lost,
  );
  return { taken, failed, more: found.length === batch.size && taken > 0 };
}
