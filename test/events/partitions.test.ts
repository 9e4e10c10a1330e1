import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { dropExpiredPartitions, ensureEventPartitions, prepareEventPartitions } from '../../src/events/partitions.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const DAY_MS = 86_400_000;
const NOW = new Date('2026-03-10T15:00:00Z');
const WEEK_MS = 7 * DAY_MS;

let database: TestDatabase;
let client: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase();
  client = await connect();
});

afterEach(async () => {
  await client.end();
  await database.close();
});

async function connect(): Promise<pg.Client> {
  const connection = new pg.Client({ connectionString: database.url });
  await connection.connect();
  return connection;
}

function daysAfter(days: number): Date {
  return new Date(NOW.getTime() + days * DAY_MS);
}

async function addEvent(at: Date, seq: number | null): Promise<void> {
  await client.query(
    `insert into aria_engine.session_events (occurred_at, seq, session_id, agent_id, type) values ($1, $2, gen_random_uuid(), 'main', 'CREATED')`,
    [at, seq],
  );
}

/** Maps the name of each partition that has rows to its number of rows. */
async function rowsByPartition(): Promise<Record<string, number>> {
  const { rows } = await client.query<{ name: string; count: number }>(
    'select tableoid::regclass::text as name, count(*)::int as count from aria_engine.session_events group by 1 order by 1',
  );
  return Object.fromEntries(rows.map(({ name, count }) => [name.replace('aria_engine.', ''), count]));
}

async function expiredSeq(): Promise<number> {
  const { rows } = await client.query<{ expired: number }>('select expired_seq::int as expired from aria_engine.event_log_state');
  return rows[0]?.expired ?? Number.NaN;
}

describe('ensureEventPartitions', () => {
  it('creates the partitions of today and the next eight days, and only the missing ones when called again', async () => {
    const created = await ensureEventPartitions(client, NOW);
    expect(created).toHaveLength(9);
    expect([created[0], created[8]]).toEqual(['session_events_20260310', 'session_events_20260318']);
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
    expect(await ensureEventPartitions(client, daysAfter(1))).toEqual(['session_events_20260319']);
  });

  it('makes Postgres store each event in the partition of its UTC day, or in the default partition if its day has none', async () => {
    await ensureEventPartitions(client, NOW);
    await addEvent(new Date('2026-03-10T00:00:00.000Z'), 1);
    await addEvent(new Date('2026-03-10T23:59:59.999Z'), 2);
    await addEvent(new Date('2026-03-11T00:00:00.000Z'), 3);
    await addEvent(daysAfter(30), 4);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 2, session_events_20260311: 1, session_events_default: 1 });
  });

  it("moves rows of a new partition's day out of the default partition", async () => {
    await addEvent(NOW, 1);
    await addEvent(daysAfter(-1), 2);
    await ensureEventPartitions(client, NOW);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 1, session_events_default: 1 });
  });

  it('postpones partitions that it cannot create without blocking writers', async () => {
    const writer = await connect();
    await writer.query('begin; lock table aria_engine.session_events_default in row exclusive mode');
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
    await addEvent(NOW, 1);
    await writer.end();
    expect(await ensureEventPartitions(client, NOW)).toHaveLength(9);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 1 });
  });

  it('creates each partition once when several servers start at the same time', async () => {
    const others = await Promise.all([connect(), connect(), connect()]);
    const created = await Promise.all([client, ...others].map(connection => ensureEventPartitions(connection, NOW)));
    expect(created.flat().sort()).toEqual([...new Set(created.flat())].sort());
    expect(created.flat()).toHaveLength(9);
    await Promise.all(others.map(connection => connection.end()));
  });
});

describe('dropExpiredPartitions', () => {
  it('drops the partitions of days that are entirely past the retention, and stores the last dropped position as expired_seq', async () => {
    await ensureEventPartitions(client, NOW);
    await addEvent(daysAfter(-3), 5);
    await addEvent(NOW, 7);
    await addEvent(NOW, 8);
    await addEvent(daysAfter(1), 9);
    expect(await dropExpiredPartitions(client, daysAfter(7), WEEK_MS)).toEqual([]);
    expect([await rowsByPartition(), await expiredSeq()]).toEqual([{ session_events_20260310: 2, session_events_20260311: 1 }, 5]);
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual(['session_events_20260310']);
    expect([await rowsByPartition(), await expiredSeq()]).toEqual([{ session_events_20260311: 1 }, 8]);
  });

  it('keeps a partition with events that have no position in the log yet', async () => {
    await ensureEventPartitions(client, NOW);
    await addEvent(NOW, 7);
    await addEvent(NOW, null);
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual([]);
    expect(await expiredSeq()).toBe(0);
  });

  it('postpones a partition that is in use', async () => {
    await ensureEventPartitions(client, NOW);
    const reader = await connect();
    await reader.query('begin; select * from aria_engine.session_events');
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual([]);
    await reader.end();
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual(['session_events_20260310']);
  });
});

describe('prepareEventPartitions', () => {
  it('resolves after the partitions are created', async () => {
    // A fixed date, because midnight could pass between the two calls.
    vi.useFakeTimers({ toFake: ['Date'], now: NOW });
    try {
      await prepareEventPartitions({ url: database.url, retentionMs: WEEK_MS, log: { debug: () => undefined } });
    } finally {
      vi.useRealTimers();
    }
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
  });
});
