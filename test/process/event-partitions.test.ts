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

/** Partition name to its number of rows, empty ones left out. */
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
  it('makes today and eight days ahead, once', async () => {
    const made = await ensureEventPartitions(client, NOW);
    expect(made).toHaveLength(9);
    expect([made[0], made[8]]).toEqual(['session_events_20260310', 'session_events_20260318']);
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
    expect(await ensureEventPartitions(client, daysAfter(1))).toEqual(['session_events_20260319']);
  });

  it('gives every event to the partition of its UTC day', async () => {
    await ensureEventPartitions(client, NOW);
    await addEvent(new Date('2026-03-10T00:00:00.000Z'), 1);
    await addEvent(new Date('2026-03-10T23:59:59.999Z'), 2);
    await addEvent(new Date('2026-03-11T00:00:00.000Z'), 3);
    await addEvent(daysAfter(30), 4);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 2, session_events_20260311: 1, session_events_default: 1 });
  });

  it('moves the rows of a day that came before its partition', async () => {
    await addEvent(NOW, 1);
    await addEvent(daysAfter(-1), 2);
    await ensureEventPartitions(client, NOW);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 1, session_events_default: 1 });
  });

  it('leaves those for the next time that it cannot make without making writers wait', async () => {
    const writer = await connect();
    await writer.query('begin; lock table aria_engine.session_events_default in row exclusive mode');
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
    await addEvent(NOW, 1);
    await writer.end();
    expect(await ensureEventPartitions(client, NOW)).toHaveLength(9);
    expect(await rowsByPartition()).toEqual({ session_events_20260310: 1 });
  });

  it('makes each once where several servers start together', async () => {
    const others = await Promise.all([connect(), connect(), connect()]);
    const made = await Promise.all([client, ...others].map(connection => ensureEventPartitions(connection, NOW)));
    expect(made.flat().sort()).toEqual([...new Set(made.flat())].sort());
    expect(made.flat()).toHaveLength(9);
    await Promise.all(others.map(connection => connection.end()));
  });
});

describe('dropExpiredPartitions', () => {
  it('drops whole days past the retention and remembers up to where', async () => {
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

  it('keeps a partition with events that nobody can have read yet', async () => {
    await ensureEventPartitions(client, NOW);
    await addEvent(NOW, 7);
    await addEvent(NOW, null);
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual([]);
    expect(await expiredSeq()).toBe(0);
  });

  it('leaves a partition in use for the next time', async () => {
    await ensureEventPartitions(client, NOW);
    const reader = await connect();
    await reader.query('begin; select * from aria_engine.session_events');
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual([]);
    await reader.end();
    expect(await dropExpiredPartitions(client, daysAfter(8), WEEK_MS)).toEqual(['session_events_20260310']);
  });
});

describe('prepareEventPartitions', () => {
  it('has the partitions made when it resolves', async () => {
    // Else midnight could come between the two.
    vi.useFakeTimers({ toFake: ['Date'], now: NOW });
    try {
      await prepareEventPartitions({ url: database.url, retentionMs: WEEK_MS, log: { debug: () => undefined } });
    } finally {
      vi.useRealTimers();
    }
    expect(await ensureEventPartitions(client, NOW)).toEqual([]);
  });
});
