import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../src/postgres/database.ts';
import { createDatabase } from '../../../src/postgres/pooled-database.ts';
import { purgeIdempotencyKeys } from '../../../src/sweeper/tasks/purge-idempotency-keys.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { runSql } from '../../support/sql.ts';

/** Without a server, because its sweeper would delete keys too. */
let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = createDatabase({ url: testDatabase.url, poolSize: 5, statementTimeoutMs: 30_000, onConnectionError: () => undefined });
});
afterAll(async () => {
  await database.close();
  await testDatabase.close();
});

/** Inserts the keys `0` to `count - 1`. Key `0` is `hours` old; each further key is a minute younger. */
async function storeKeys(count: number, hours: number) {
  await runSql(
    testDatabase.url,
    `insert into aria_engine.idempotency_keys (viewer_id, key, call_hash, result, created_at)
     select 'local', n::text, '', '{}', now() - $2::int * interval '1 hour' + n * interval '1 minute' from generate_series(0, $1::int - 1) n`,
    [count, hours],
  );
}

async function remainingKeys(): Promise<number[]> {
  const rows = await runSql<{ key: string }>(testDatabase.url, 'select key from aria_engine.idempotency_keys order by created_at');
  return rows.map(({ key }) => Number(key));
}

describe('purgeIdempotencyKeys', () => {
  let other: pg.Client;
  beforeEach(async () => {
    await runSql(testDatabase.url, 'truncate aria_engine.idempotency_keys');
    other = new pg.Client({ connectionString: testDatabase.url });
    await other.connect();
    await other.query('begin');
  });
  afterEach(() => other.end());

  it('deletes keys older than a day, oldest first, in batches', async () => {
    await storeKeys(10, 24);
    await runSql(testDatabase.url, `update aria_engine.idempotency_keys set created_at = created_at - interval '5 minutes'`);
    expect(await purgeIdempotencyKeys(database, 4)).toMatchObject({ taken: 4, more: true });
    expect(await remainingKeys()).toEqual([4, 5, 6, 7, 8, 9]);
    expect(await purgeIdempotencyKeys(database, 4)).toMatchObject({ taken: 2, more: false });
    expect(await remainingKeys()).toEqual([6, 7, 8, 9]);
    expect(await purgeIdempotencyKeys(database, 4)).toMatchObject({ taken: 0, more: false });
  });

  it('skips a locked key without waiting for it', async () => {
    await storeKeys(3, 30);
    await other.query(`select from aria_engine.idempotency_keys where key = '1' for update`);
    expect(await purgeIdempotencyKeys(database)).toMatchObject({ taken: 2, more: false });
    expect(await remainingKeys()).toEqual([1]);
  });

  it('deletes each key once when four sweeps run concurrently', async () => {
    await storeKeys(900, 60);
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => purgeIdempotencyKeys(database)));
    expect(outcomes.reduce((sum, { taken }) => sum + taken, 0)).toBe(900);
    expect(await remainingKeys()).toEqual([]);
  });
});
