import pg from 'pg';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startIdempotencySweep, sweepIdempotencyKeys } from '../../../src/modules/idempotency/idempotency-sweep.service.ts';
import { useWriteSide } from '../session/write-side.ts';

const side = useWriteSide();
const log = pino({ level: 'silent' });

/** Keys `0` to `count - 1`, each a minute younger than the one before; the oldest is so many hours old. */
async function store(count: number, hours: number) {
  await side.rows(
    `insert into aria_engine.idempotency_keys (viewer_id, key, call_hash, result, created_at)
     select 'local', n::text, '', '{}', now() - $2::int * interval '1 hour' + n * interval '1 minute' from generate_series(0, $1::int - 1) n`,
    [count, hours],
  );
}

async function left(): Promise<number[]> {
  const rows = await side.rows<{ key: string }>('select key from aria_engine.idempotency_keys order by created_at');
  return rows.map(({ key }) => Number(key));
}

describe('sweeping', () => {
  let other: pg.Client;
  beforeEach(async () => {
    await side.rows('truncate aria_engine.idempotency_keys');
    other = new pg.Client({ connectionString: side.app.databaseUrl });
    await other.connect();
    await other.query('begin');
  });
  afterEach(() => other.end());

  it('takes what is older than a day, the oldest first, a batch at a time', async () => {
    await store(10, 24);
    await side.rows(`update aria_engine.idempotency_keys set created_at = created_at - interval '5 minutes'`);
    const { database } = side.app.app;
    expect(await sweepIdempotencyKeys(database, 4)).toBe(true);
    expect(await left()).toEqual([4, 5, 6, 7, 8, 9]);
    expect(await sweepIdempotencyKeys(database, 4)).toBe(false);
    expect(await left()).toEqual([6, 7, 8, 9]);
    expect(await sweepIdempotencyKeys(database, 4)).toBe(false);
  });

  it('leaves alone a key that is being used, and does not wait for it', async () => {
    await store(3, 30);
    await other.query(`select from aria_engine.idempotency_keys where key = '1' for update`);
    expect(await sweepIdempotencyKeys(side.app.app.database)).toBe(false);
    expect(await left()).toEqual([1]);
  });

  it('is left to one server at a time', async () => {
    await store(3, 30);
    await other.query('select pg_advisory_xact_lock(7305021102)');
    expect(await sweepIdempotencyKeys(side.app.app.database, 1)).toBe(false);
    expect(await left()).toHaveLength(3);
  });

  it('goes on until there is no more, and stops when told', async () => {
    await store(1_500, 60);
    const stop = startIdempotencySweep({ database: side.app.app.database, log, intervalMs: 5 });
    await expect.poll(left).toEqual([]);
    await stop();
    await store(1, 60);
    expect(await left()).toEqual([0]);
  });
});
