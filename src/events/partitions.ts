import type { Logger } from 'pino';
import { type QueryClient, withDedicatedConnection } from '../postgres/dedicated-connection.ts';
import { isDeadlock, isLockTimeout } from '../postgres/sql-state.ts';

/** A connection outside the pool, without an open transaction. */
type MaintenanceClient = Pick<QueryClient, 'query'>;

const DAY_MS = 86_400_000;
/** Number of days after today that have a partition. */
const DAYS_AHEAD = 8;
/** Advisory lock: only one server at a time maintains the partitions. */
const MAINTENANCE_LOCK = 72_707_370;

/** Attaching and detaching lock the whole log. While they wait for the lock, new readers and writers wait behind them. */
const LOCK_TIMEOUT = '200ms';

/** The name of the partition for an instant's UTC day. */
export function partitionNameOf(day: Date): string {
  return `session_events_${day.toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/**
 * Creates the missing partitions for today and the next eight UTC days. Rows of these days in the DEFAULT partition move to the new one. If a
 * table is in use, the partition is left for the next call. Several servers may call this at the same time.
 * @returns names of the created partitions
 */
export async function ensureEventPartitions(client: MaintenanceClient, now: Date): Promise<string[]> {
  const days = Array.from({ length: DAYS_AHEAD + 1 }, (_, ahead) => startOfDay(now.getTime() + ahead * DAY_MS));
  const existing = new Set((await listPartitions(client)).map(({ name }) => name));
  const created: string[] = [];
  for (const day of days) {
    if (!existing.has(partitionNameOf(day)) && (await createPartition(client, day))) created.push(partitionNameOf(day));
  }
  return created;
}

/**
 * Drops the partitions whose events are all older than the retention, and deletes such events from the DEFAULT partition. Sets
 * `event_log_state.expired_seq` to the highest dropped `seq`, in the same transaction. A partition that has unsequenced events or is in use
 * is left for the next call.
 *
 * Postgres cannot detach concurrently from a table with a DEFAULT partition, so this takes a short exclusive lock.
 * @returns names of the dropped partitions
 */
export async function dropExpiredPartitions(client: MaintenanceClient, now: Date, retentionMs: number): Promise<string[]> {
  const cutoff = startOfDay(now.getTime() - retentionMs);
  const dropped: string[] = [];
  for (const { name, day } of await listPartitions(client)) {
    if (day.getTime() + DAY_MS <= cutoff.getTime() && (await dropPartition(client, name))) dropped.push(name);
  }
  await deleteExpired(client, 'session_events_default', cutoff);
  return dropped;
}

/**
 * Creates the partitions that will be needed, and drops the expired ones.
 * @returns names of the partitions
 */
export async function maintainEventPartitions(
  client: MaintenanceClient,
  now: Date,
  retentionMs: number,
): Promise<{ readonly created: readonly string[]; readonly dropped: readonly string[] }> {
  return { created: await ensureEventPartitions(client, now), dropped: await dropExpiredPartitions(client, now, retentionMs) };
}

export interface PreparePartitionsOptions {
  readonly url: string;
  readonly retentionMs: number;
  readonly log: Pick<Logger, 'debug'>;
}

/**
 * Maintains the partitions once, on a connection of its own, before a server starts. From then on the sweeper does it.
 * @throws the error of pg
 */
export async function prepareEventPartitions({ url, retentionMs, log }: PreparePartitionsOptions): Promise<void> {
  const { created, dropped } = await withDedicatedConnection({ url, name: 'sessiongraph upkeep' }, ({ client }) =>
    maintainEventPartitions(client, new Date(), retentionMs),
  );
  if (created.length + dropped.length > 0) log.debug({ created, dropped }, 'maintained the partitions of the event log');
}

function startOfDay(milliseconds: number): Date {
  return new Date(Math.floor(milliseconds / DAY_MS) * DAY_MS);
}

interface Partition {
  readonly name: string;
  readonly day: Date;
}

async function listPartitions(client: MaintenanceClient): Promise<Partition[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_inherits join pg_class on pg_class.oid = inhrelid
     where inhparent = 'aria_engine.session_events'::regclass order by relname`,
  );
  return rows.flatMap(({ name }) => {
    const [, year, month, day] = /^session_events_(\d{4})(\d\d)(\d\d)$/.exec(name) ?? [];
    return year === undefined ? [] : [{ name, day: new Date(`${year}-${month}-${day}T00:00:00Z`) }];
  });
}

/** Whether the partition exists now, as another server may have created or dropped it. */
async function exists(client: MaintenanceClient, name: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [`aria_engine.${name}`]);
  return rows[0]?.found === true;
}

async function createPartition(client: MaintenanceClient, day: Date): Promise<boolean> {
  const name = partitionNameOf(day);
  const from = day.toISOString();
  const to = new Date(day.getTime() + DAY_MS).toISOString();
  return changePartitions(client, async () => {
    if (await exists(client, name)) return false;
    // Attaching a table takes weaker locks on the log than `create table ... partition of`.
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
  });
}

async function dropPartition(client: MaintenanceClient, name: string): Promise<boolean> {
  return changePartitions(client, async () => {
    if (!(await exists(client, name))) return false;
    // The sequencer may lock these two in the other order. The lock timeout then ends this transaction.
    await client.query('select 1 from aria_engine.event_log_state for update');
    await client.query('lock table aria_engine.session_events in access exclusive mode');
    const { rows } = await client.query<{ last: string | null; open: boolean }>(
      `select (select max(seq) from aria_engine.${name}) as last, exists (select from aria_engine.${name} where seq is null) as open`,
    );
    const [found] = rows;
    if (found === undefined || found.open) return false;
    await raiseExpiredSeq(client, found.last);
    await client.query(`alter table aria_engine.session_events detach partition aria_engine.${name}`);
    await client.query(`drop table aria_engine.${name}`);
    return true;
  });
}

async function deleteExpired(client: MaintenanceClient, partition: string, cutoff: Date): Promise<void> {
  await changePartitions(client, async () => {
    await client.query('select 1 from aria_engine.event_log_state for update');
    const { rows } = await client.query<{ last: string | null }>(
      `with deleted as (delete from aria_engine.${partition} where occurred_at < $1 and seq is not null returning seq)
       select max(seq) as last from deleted`,
      [cutoff.toISOString()],
    );
    await raiseExpiredSeq(client, rows[0]?.last ?? null);
    return true;
  });
}

async function raiseExpiredSeq(client: MaintenanceClient, seq: string | null): Promise<void> {
  if (seq !== null) await client.query('update aria_engine.event_log_state set expired_seq = greatest(expired_seq, $1)', [seq]);
}

/**
 * Runs work in a transaction, while no other server maintains the partitions.
 * @returns the result of the work; false if a lock was not free, and nothing was changed
 */
async function changePartitions(client: MaintenanceClient, work: () => Promise<boolean>): Promise<boolean> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [MAINTENANCE_LOCK]);
    await client.query(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
    const isDone = await work();
    await client.query('commit');
    return isDone;
  } catch (error) {
    await client.query('rollback');
    if (isLockTimeout(error) || isDeadlock(error)) return false;
    throw error;
  }
}
