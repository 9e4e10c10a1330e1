import { Prisma } from '../generated/prisma/client.ts';
import { removeSession } from '../modules/session/session-trash.service.ts';
import type { Transactor } from '../postgres/database.ts';
import { type BatchOutcome, type RowBatch, takeOneByOne } from './row-batch.ts';

/**
 * Removes one batch of the sessions for good that have lain in the trash for so many days, the oldest first, each in a transaction of
 * its own: their messages go with them, and may be many. One that somebody is just restoring is let be.
 */
export async function purgeTrash(database: Transactor, trashDays: number, batch: RowBatch): Promise<BatchOutcome> {
  const isOver = Prisma.sql`deleted_at <= now() - interval '1 day' * ${trashDays}::int`;
  const found = await database.rows<{ id: string }>(Prisma.sql`
    select id from aria_engine.chat_sessions where ${isOver} and id <> all(${[...batch.skip]}::uuid[])
    order by deleted_at, id limit ${batch.size}::int`);
  const purge = ([id]: readonly string[]) =>
    database.transaction(async transaction => {
      const [session] = await transaction.rows<{ id: string; agent_id: string }>(Prisma.sql`
        select id, agent_id from aria_engine.chat_sessions where id = ${id}::uuid and ${isOver} for update skip locked`);
      if (session === undefined) return 0;
      await removeSession(transaction, session);
      return 1;
    });
  const { taken, failed } = await takeOneByOne(
    found.map(({ id }) => id),
    purge,
    batch.lost,
  );
  return { taken, failed, more: found.length === batch.size && taken > 0 };
}
