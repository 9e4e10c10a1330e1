import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../src/postgres/database.ts';
import { sweepIdempotencyKeys } from '../../../src/sweeper/idempotency-purge.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { runSql } from '../../support/sql.ts';

/** Without an application: its own sweeper would be at it too. */
let stage: TestDatabase;
let database: Database;
beforeAll(async () => {
  stage = await createTestDatabase();
  database = createDatabase({ url: stage.url, poolSize: 5, statementTimeoutMs: 30_000, onConnectionError: () => undefined });
});
afterAll(async () => {
  await database.close();
  await stage.close();
});

/** Keys `0` to `count - 1`, each a minute younger than the one before; the oldest is so many hours old. */
async function store(count: number, hours: number) {
  await runSql(
    stage.url,
    `insert into aria_engine.idempotency_keys (viewer_id, key, call_hash, result, created_at)
     select 'local', n::text, '', '{}', now() - $2::int * interval '1 hour' + n * interval '1 minute' from generate_series(0, $1::int - 1) n`,
    [count, hours],
  );
}

async function left(): Promise<number[]> {
  const rows = await runSql<{ key: string }>(stage.url, 'select key from aria_engine.idempotency_keys order by created_at');
  return rows.map(({ key }) => Number(key));
}

describe('sweeping', () => {
  let other: pg.Client;
  beforeEach(async () => {
    await runSql(stage.url, 'truncate aria_engine.idempotency_keys');
    other = new pg.Client({ connectionString: stage.url });
    await other.connect();
    await other.query('begin');
  });
  afterEach(() => other.end());

  it('takes what is older than a day, the oldest first, a batch at a time', async () => {
    await store(10, 24);
    await runSql(stage.url, `update aria_engine.idempotency_keys set created_at = created_at - interval '5 minutes'`);
    expect(await sweepIdempotencyKeys(database, 4)).toMatchObject({ taken: 4, more: true });
    expect(await left()).toEqual([4, 5, 6, 7, 8, 9]);
    expect(await sweepIdempotencyKeys(database, 4)).toMatchObject({ taken: 2, more: false });
    expect(await left()).toEqual([6, 7, 8, 9]);
    expect(await sweepIdempotencyKeys(database, 4)).toMatchObject({ taken: 0, more: false });
  });

  it('leaves alone a key that is being used, and does not wait for it', async () => {
    await store(3, 30);
    await other.query(`select from aria_engine.idempotency_keys where key = '1' for update`);
    expect(await sweepIdempotencyKeys(database)).toMatchObject({ taken: 2, more: false });
    expect(await left()).toEqual([1]);
  });

  it('is shared out where two do it at once', async () => {
    await store(900, 60);
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => sweepIdempotencyKeys(database)));
    expect(outcomes.reduce((sum, { taken }) => sum + taken, 0)).toBe(900);
    expect(await left()).toEqual([]);
  });
});
