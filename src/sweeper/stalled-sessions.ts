import { Prisma } from '../generated/prisma/client.ts';
import { type SessionStatus, stalledReason } from '../modules/session/session.rules.ts';
import { statusChange } from '../modules/session/session-lock.service.ts';
import type { UsageRow } from '../modules/usage/usage.rules.ts';
import { USAGE_COLUMNS } from '../modules/usage/usage.sql.ts';
import type { Transactor } from '../postgres/database.ts';
import { type BatchOutcome, type RowBatch, takeTogether } from './row-batch.ts';

/**
 * Marks one batch of the sessions STALLED that are SPAWNING or WORKING and have shown no activity for so long: no message, log or
 * progress, nor a call that set them to work. Those in the trash and superseded ones are let be, and so are those that somebody is writing to.
 */
export async function stallSessions(database: Transactor, stalledAfterMs: number, batch: RowBatch): Promise<BatchOutcome> {
  const silence = Prisma.sql`interval '1 millisecond' * ${stalledAfterMs}::float8`;
  // `offset 0` keeps it at one look by id for each session at work: those without activity are nearly all there are.
  const found = await database.rows<{ id: string }>(Prisma.sql`
    select s.id from aria_engine.chat_sessions s cross join lateral (
      select from aria_engine.chat_session_activity a where a.session_id = s.id and a.last_activity_at <= now() - ${silence} offset 0
    ) a
    where s.status in ('SPAWNING', 'WORKING') and s.deleted_at is null and s.superseded_at is null
      and (s.working_since is null or s.working_since <= now() - ${silence}) and s.id <> all(${[...batch.skip]}::uuid[])
    limit ${batch.size}::int`);
  const stall = (ids: readonly string[]) => stallThese(database, stalledAfterMs, ids);
  const { taken, failed } = await takeTogether(
    found.map(({ id }) => id),
    stall,
    batch.lost,
  );
  return { taken, failed, more: found.length === batch.size && taken > 0 };
}

interface SilentSession extends UsageRow {
  readonly id: string;
  readonly agent_id: string;
  readonly status: SessionStatus;
  readonly idleMs: number;
}

function stallThese(database: Transactor, stalledAfterMs: number, ids: readonly string[]): Promise<number> {
  const reason = stalledReason(stalledAfterMs);
  return database.transaction(async transaction => {
    const locked = await transaction.rows<{ id: string }>(Prisma.sql`
      select id from aria_engine.chat_sessions where id = any(${[...ids]}::uuid[]) order by id for no key update skip locked`);
    // Every write locks the session first: what this statement sees, being a new one, is the newest, and stays so.
    const silent = await transaction.rows<SilentSession>(Prisma.sql`
      select s.id, s.agent_id, s.status, ${USAGE_COLUMNS},
        greatest(0, floor(extract(epoch from clock_timestamp() - a.last_activity_at) * 1000))::float8 as "idleMs"
      from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
      where s.id = any(${locked.map(({ id }) => id)}::uuid[]) and s.status in ('SPAWNING', 'WORKING')
        and s.deleted_at is null and s.superseded_at is null
        and greatest(a.last_activity_at, s.working_since) <= clock_timestamp() - interval '1 millisecond' * ${stalledAfterMs}::float8
      order by s.id`);
    if (silent.length === 0) return 0;
    await transaction.rows(Prisma.sql`
      with silent as (
        select * from unnest(${silent.map(({ id }) => id)}::uuid[], ${silent.map(session => session.agent_id)}::text[],
          ${silent.map(session => JSON.stringify(statusChange(session, 'STALLED', reason)))}::text[]) silent(id, agent_id, payload)
      ), session as (
        update aria_engine.chat_sessions s set status = 'STALLED', status_reason = ${reason}, version = s.version + 1
        from silent where s.id = silent.id
      ), activity as (
        update aria_engine.chat_session_activity a set updated_at = clock_timestamp() from silent where a.session_id = silent.id
      )
      insert into aria_engine.session_events (session_id, agent_id, type, payload)
      select id, agent_id, 'STATUS_CHANGED', payload::jsonb from silent order by id`);
    return silent.length;
  });
}
