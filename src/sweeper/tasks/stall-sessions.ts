import { Prisma } from '../../generated/prisma/client.ts';
import { type SessionStatus, stalledReason } from '../../modules/session/session.rules.ts';
import { statusChange } from '../../modules/session-mutation/session-lock.service.ts';
import type { UsageRow } from '../../modules/usage/usage.rules.ts';
import { USAGE_COLUMNS } from '../../modules/usage/usage.sql.ts';
import type { Transactor } from '../../postgres/database.ts';
import { type BatchOutcome, type RowBatch, sweepTogether } from '../row-batch.ts';

/**
 * Marks a batch of inactive sessions STALLED: sessions that are SPAWNING or WORKING and got no message, log or progress for
 * `stalledAfterMs`, nor a call that set them to work. Sessions in the trash, superseded ones, and those that another transaction has
 * locked are left out.
 */
export async function stallSessions(database: Transactor, stalledAfterMs: number, batch: RowBatch): Promise<BatchOutcome> {
  const period = Prisma.sql`interval '1 millisecond' * ${stalledAfterMs}::float8`;
  // With `offset 0`, Postgres looks up the activity of each session at work by id. Else it may read all inactive sessions, nearly the whole table.
  const found = await database.rows<{ id: string }>(Prisma.sql`
    select s.id from aria_engine.chat_sessions s cross join lateral (
      select from aria_engine.chat_session_activity a where a.session_id = s.id and a.last_activity_at <= now() - ${period} offset 0
    ) a
    where s.status in ('SPAWNING', 'WORKING') and s.deleted_at is null and s.superseded_at is null
      and (s.working_since is null or s.working_since <= now() - ${period}) and s.id <> all(${[...batch.skip]}::uuid[])
    limit ${batch.size}::int`);
  const stall = (ids: readonly string[]) => markStalled(database, stalledAfterMs, ids);
  const { taken, failed } = await sweepTogether(
    found.map(({ id }) => id),
    stall,
    batch.lost,
  );
  return { taken, failed, more: found.length === batch.size && taken > 0 };
}

interface InactiveSession extends UsageRow {
  readonly id: string;
  readonly agentId: string;
  readonly status: SessionStatus;
  readonly idleMs: number;
}

function markStalled(database: Transactor, stalledAfterMs: number, ids: readonly string[]): Promise<number> {
  const reason = stalledReason(stalledAfterMs);
  return database.transaction(async transaction => {
    const locked = await transaction.rows<{ id: string }>(Prisma.sql`
      select id from aria_engine.chat_sessions where id = any(${[...ids]}::uuid[]) order by id for no key update skip locked`);
    // Every write locks its session first. A new statement, begun under the locks, therefore sees the newest rows, which cannot change.
    const inactive = await transaction.rows<InactiveSession>(Prisma.sql`
      select s.id, s.agent_id as "agentId", s.status, ${USAGE_COLUMNS},
        greatest(0, floor(extract(epoch from clock_timestamp() - a.last_activity_at) * 1000))::float8 as "idleMs"
      from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
      where s.id = any(${locked.map(({ id }) => id)}::uuid[]) and s.status in ('SPAWNING', 'WORKING')
        and s.deleted_at is null and s.superseded_at is null
        and greatest(a.last_activity_at, s.working_since) <= clock_timestamp() - interval '1 millisecond' * ${stalledAfterMs}::float8
      order by s.id`);
    if (inactive.length === 0) return 0;
    await transaction.rows(Prisma.sql`
      with inactive as (
        select * from unnest(${inactive.map(({ id }) => id)}::uuid[], ${inactive.map(session => session.agentId)}::text[],
          ${inactive.map(session => JSON.stringify(statusChange(session, 'STALLED', reason)))}::text[]) inactive(id, agent_id, payload)
      ), session as (
        update aria_engine.chat_sessions s set status = 'STALLED', status_reason = ${reason}, version = s.version + 1
        from inactive where s.id = inactive.id
      ), activity as (
        update aria_engine.chat_session_activity a set updated_at = clock_timestamp() from inactive where a.session_id = inactive.id
      )
      insert into aria_engine.session_events (session_id, agent_id, type, payload)
      select id, agent_id, 'STATUS_CHANGED', payload::jsonb from inactive order by id`);
    return inactive.length;
  });
}
