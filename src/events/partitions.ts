import type { Logger } from 'pino';
import { errorCodeOf } from '../errors.ts';
import { type QueryClient, withDedicatedConnection } from '../postgres/dedicated-connection.ts';

/** One connection, outside a transaction. */
export type Connection = Pick<QueryClient, 'query'>;

const DAY_MS = 86_400_000;
/** Days ahead of today that have their partition. */
const DAYS_AHEAD = 8;
/** The key under which servers take turns at the partitions. */
const LOCK_KEY = 72_707_370;

const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK_DETECTED = '40P01';
/** Putting a partition in or out shuts the log for a moment, and whoever waits for that shuts it for those behind. */
const LOCK_TIMEOUT = '200ms';

/** The name of the partition of an instant's day, in UTC. */
export function partitionNameOf(day: Date): string {
  return `session_events_${day.toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/**
 * Makes the partitions of today and eight days ahead that are missing, in UTC days. Rows of such a day that went into the
 * DEFAULT partition move to their own. What is in use just now is left for the next time. Safe with several servers at once.
 * @returns names of the partitions made
 */
export async function ensureEventPartitions(client: Connection, now: Date): Promise<string[]> {
  const days = Array.from({ length: DAYS_AHEAD + 1 }, (_, ahead) => startOfDay(now.getTime() + ahead * DAY_MS));
  const existing = new Set((await listPartitions(client)).map(({ name }) => name));
  const made: string[] = [];
  for (const day of days) {
    if (!existing.has(partitionNameOf(day)) && (await makePartition(client, day))) made.push(partitionNameOf(day));
  }
  return made;
}

/**
 * Drops the partitions whose last event is older than the retention, and such rows of the DEFAULT partition, and raises
 * `event_log_state.expired_seq` to the highest sequence number that went, all of one partition in one transaction.
 * A partition with events that have no number yet, or that is in use just now, stays until the next time.
 *
 * Postgres detaches concurrently only where there is no DEFAULT partition, so this takes a short exclusive lock.
 * @returns names of the partitions dropped
 */
export async function dropExpiredPartitions(client: Connection, now: Date, retentionMs: number): Promise<string[]> {
  const cutoff = startOfDay(now.getTime() - retentionMs);
  const dropped: string[] = [];
  for (const { name, day } of await listPartitions(client)) {
    if (day.getTime() + DAY_MS <= cutoff.getTime() && (await dropPartition(client, name))) dropped.push(name);
  }
  await expire(client, 'session_events_default', cutoff);
  return dropped;
}

/**
 * Makes the partitions that are needed and drops those whose time is over.
 * @returns names of the partitions
 */
export async function keepEventPartitions(
  client: Connection,
  now: Date,
  retentionMs: number,
): Promise<{ readonly made: readonly string[]; readonly dropped: readonly string[] }> {
  return { made: await ensureEventPartitions(client, now), dropped: await dropExpiredPartitions(client, now, retentionMs) };
}

export interface PreparePartitionsOptions {
  readonly url: string;
  readonly retentionMs: number;
  readonly log: Pick<Logger, 'debug'>;
}

/**
 * Keeps the partitions once, on a connection of its own: before a server starts. From then on the sweeper does.
 * @throws the error of pg
 */
export async function prepareEventPartitions({ url, retentionMs, log }: PreparePartitionsOptions): Promise<void> {
  const { made, dropped } = await withDedicatedConnection({ url, name: 'sessiongraph upkeep' }, ({ client }) =>
    keepEventPartitions(client, new Date(), retentionMs),
  );
  if (made.length + dropped.length > 0) log.debug({ made, dropped }, 'kept the partitions of the event log');
}

function startOfDay(milliseconds: number): Date {
  return new Date(Math.floor(milliseconds / DAY_MS) * DAY_MS);
}

interface Partition {
  readonly name: string;
  readonly day: Date;
}

async function listPartitions(client: Connection): Promise<Partition[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_inherits join pg_class on pg_class.oid = inhrelid
     where inhparent = 'aria_engine.session_events'::regclass order by relname`,
  );
  return rows.flatMap(({ name }) => {
    const [, year, month, day] = /^session_events_(\d{4})(\d\d)(\d\d)$/.exec(name) ?? [];
    return year === undefined ? [] : [{ name, day: new Date(`${year}-${month}-${day}T00:00:00Z`) }];
  });
}

async function makePartition(client: Connection, day: Date): Promise<boolean> {
  const name = partitionNameOf(day);
  const from = day.toISOString();
  const to = new Date(day.getTime() + DAY_MS).toISOString();
  return unlessBusy(() =>
    inTurn(client, async () => {
      await client.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
      const { rows } = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [`aria_engine.${name}`]);
      if (rows[0]?.found === true) return false;
      // Attaching locks the log far less than `create table ... partition of` would.
      await client.query(`create table aria_engine.${name} (like aria_engine.session_events including all)`);
      await client.query('lock table aria_engine.session_events_default in access exclusive mode');
      await client.query(
        `with moved as (delete from aria_engine.session_events_default where occurred_at >= $1 and occurred_at < $2 returning *)
       insert into aria_engine.${name} select * from moved`,
        [from, to],
      );
      await client.query(
        `alter table aria_engine.session_events attach partition aria_engine.${name} for values from ('${from}') to ('${to}')`,
      );
      return true;
    }),
  );
}

async function dropPartition(client: Connection, name: string): Promise<boolean> {
  return unlessBusy(() =>
    inTurn(client, async () => {
      await client.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
      const { rows: present } = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [
        `aria_engine.${name}`,
      ]);
      if (present[0]?.found !== true) return false;
      // Should the sequencer hold one of the two and want the other, the timeout above ends the embrace.
      await client.query('select 1 from aria_engine.event_log_state for update');
      await client.query('lock table aria_engine.session_events in access exclusive mode');
      const { rows } = await client.query<{ last: string | null; open: boolean }>(
        `select (select max(seq) from aria_engine.${name}) as last, exists (select from aria_engine.${name} where seq is null) as open`,
      );
      const [found] = rows;
      if (found === undefined || found.open) return false;
      await raiseExpired(client, found.last);
      await client.query(`alter table aria_engine.session_events detach partition aria_engine.${name}`);
      await client.query(`drop table aria_engine.${name}`);
      return true;
    }),
  );
}

async function expire(client: Connection, partition: string, cutoff: Date): Promise<void> {
  await unlessBusy(() =>
    inTurn(client, async () => {
      await client.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
      await client.query('select 1 from aria_engine.event_log_state for update');
      const { rows } = await client.query<{ last: string | null }>(
        `with gone as (delete from aria_engine.${partition} where occurred_at < $1 and seq is not null returning seq)
         select max(seq) as last from gone`,
        [cutoff.toISOString()],
      );
      await raiseExpired(client, rows[0]?.last ?? null);
      return true;
    }),
  );
}

async function raiseExpired(client: Connection, seq: string | null): Promise<void> {
  if (seq !== null) await client.query('update aria_engine.event_log_state set expired_seq = greatest(expired_seq, $1)', [seq]);
}

/** Runs work in a transaction that no other server's upkeep overlaps. */
async function inTurn(client: Connection, work: () => Promise<boolean>): Promise<boolean> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY]);
    const done = await work();
    await client.query('commit');
    return done;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** False where somebody else held what the work needed. */
async function unlessBusy(work: () => Promise<boolean>): Promise<boolean> {
  try {
    return await work();
  } catch (error) {
    if ([LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED].includes(errorCodeOf(error) ?? '')) return false;
    throw error;
  }
}
