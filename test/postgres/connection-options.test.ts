import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { withDedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** The session settings of a connection, and the text of an instant as cursors hold it. */
const SETTINGS = Prisma.sql`select current_setting('timezone') as timezone, current_setting('work_mem') as "workMem",
  '2026-02-12T20:25:00Z'::timestamptz::text as instant`;

let testDatabase: TestDatabase;
let url: string;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const withOptions = new URL(testDatabase.url);
  withOptions.searchParams.set('options', '-c timezone=Asia/Tokyo -c work_mem=7MB');
  url = withOptions.href;
});
afterAll(() => testDatabase.close());

const expected = [{ timezone: 'UTC', workMem: '7MB', instant: '2026-02-12 20:25:00+00' }];

describe('a connection URL with options', () => {
  it('keeps its own options on connections of the pool, but never replaces UTC', async () => {
    const database = createDatabase({ url, poolSize: 1, statementTimeoutMs: 10_000, onConnectionError: () => undefined });
    try {
      expect(await database.rows(SETTINGS)).toEqual(expected);
    } finally {
      await database.close();
    }
  });

  it('keeps its own options on dedicated connections, but never replaces UTC', async () => {
    expect(await withDedicatedConnection({ url, name: 'test' }, connection => connection.rows(SETTINGS))).toEqual(expected);
  });
});
