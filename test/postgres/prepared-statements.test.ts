import { expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { type Database, PREPARED, type Sql } from '../../src/postgres/database.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createTestDatabase } from '../support/database.ts';
import { runSql } from '../support/sql.ts';

const MAX_PREPARED = 200;

const prepared = (text: string): Sql => Prisma.sql`${Prisma.raw(`${PREPARED} ${text}`)}`;

async function open(prepared?: 'auto' | 'on' | 'off', isPgBouncer = false): Promise<{ url: string; database: Database }> {
  const { url, close } = await createTestDatabase();
  await runSql(url, 'create table entry (id int); insert into entry values (1)');
  const pooled = new URL(url);
  if (isPgBouncer) pooled.searchParams.set('pgbouncer', 'true');
  const database = createDatabase({
    url: pooled.href,
    prepared,
    poolSize: 1,
    statementTimeoutMs: 60_000,
    onConnectionError: () => undefined,
  });
  onTestFinished(async () => {
    await database.close();
    await close();
  });
  return { url, database };
}

async function preparedTexts(database: Database): Promise<string[]> {
  const rows = await database.rows<{ statement: string }>(Prisma.sql`select statement from pg_prepared_statements order by prepare_time`);
  return rows.map(({ statement }) => statement.replace(PREPARED, '').trim());
}

it('a connection keeps the 200 most recently used prepared statements', { timeout: 60_000 }, async () => {
  const { database } = await open();
  const send = (index: number) => database.rows(prepared(`select ${index} as index`));
  for (let i = 0; i < MAX_PREPARED; i += 1) await send(i);
  await send(0);
  for (let i = 0; i < 10; i += 1) expect(await send(MAX_PREPARED + i)).toEqual([{ index: MAX_PREPARED + i }]);
  expect(await send(1)).toEqual([{ index: 1 }]);
  // Closes what the last statement has replaced.
  await send(1);
  const texts = await preparedTexts(database);
  expect(texts).toHaveLength(MAX_PREPARED);
  expect(texts).toContain('select 0 as index');
  expect(texts).not.toContain('select 2 as index');
});

it('a prepared statement is parsed again if the types of its columns have changed', async () => {
  const { url, database } = await open();
  const entries = prepared('select entry.* from entry');
  expect(await database.rows(entries)).toEqual([{ id: 1 }]);
  await runSql(url, `alter table entry add column title text default 'first'`);
  expect(await database.rows(entries)).toEqual([{ id: 1, title: 'first' }]);
});

it('a transaction runs again if the types of the columns of its prepared statements have changed', async () => {
  const { url, database } = await open();
  const statements = ['select entry.* from entry', 'select entry.*, 2 as two from entry', 'select entry.*, 3 as three from entry'].map(
    prepared,
  );
  const run = () =>
    database.transaction(async ({ rows }) => {
      const results = [];
      for (const statement of statements) results.push(...(await rows(statement)));
      return results;
    });
  expect(await run()).toEqual([{ id: 1 }, { id: 1, two: 2 }, { id: 1, three: 3 }]);
  await runSql(url, 'alter table entry alter column id type bigint');
  expect(await run()).toEqual([{ id: 1n }, { id: 1n, two: 2 }, { id: 1n, three: 3 }]);
});

it('a prepared statement that cannot be parsed fails each time, until it can', async () => {
  const { url, database } = await open();
  const later = prepared('select count(*)::int as number from later');
  await expect(database.rows(later)).rejects.toMatchObject({ code: '42P01' });
  await expect(database.rows(later)).rejects.toMatchObject({ code: '42P01' });
  await runSql(url, 'create table later (id int)');
  expect(await database.rows(later)).toEqual([{ number: 0 }]);
  expect(await database.rows(later)).toEqual([{ number: 0 }]);
});

it('prepared statements work again after something has reset the session', async () => {
  const { database } = await open();
  const one = prepared('select 1 as one');
  await database.rows(one);
  await database.rows(Prisma.sql`discard all`);
  expect(await database.rows(one)).toEqual([{ one: 1 }]);
  expect(await preparedTexts(database)).toEqual(['select 1 as one']);
});

it('a statement whose execution fails stays prepared', async () => {
  const { database } = await open();
  const divide = (by: number) => Prisma.sql`${Prisma.raw(PREPARED)} select 1 / ${by}::int as quotient`;
  expect(await database.rows(divide(1))).toEqual([{ quotient: 1 }]);
  await expect(database.rows(divide(0))).rejects.toMatchObject({ code: '22012', severity: 'ERROR' });
  expect(await database.rows(divide(1))).toEqual([{ quotient: 1 }]);
  expect(await preparedTexts(database)).toHaveLength(1);
});

it.each([
  { setting: 'on', isPgBouncer: false, isPrepared: true },
  { setting: 'on', isPgBouncer: true, isPrepared: true },
  { setting: 'auto', isPgBouncer: false, isPrepared: true },
  { setting: 'auto', isPgBouncer: true, isPrepared: false },
  { setting: 'off', isPgBouncer: false, isPrepared: false },
] as const)('with DATABASE_PREPARED=$setting and pgbouncer=$isPgBouncer in the URL statements are prepared: $isPrepared', async row => {
  const { database } = await open(row.setting, row.isPgBouncer);
  for (let i = 0; i < 2; i += 1) expect(await database.rows(prepared('select 1 as one'))).toEqual([{ one: 1 }]);
  expect(await preparedTexts(database)).toEqual(row.isPrepared ? ['select 1 as one'] : []);
});
