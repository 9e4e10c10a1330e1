import { expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { type Executor, PREPARED, type Sql } from '../../src/postgres/database.ts';
import { withDedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createTestDatabase } from '../support/database.ts';

const INSTANT = new Date('2026-02-03T04:05:06.789Z');

/** One column of each type that the statements of the program read, with and without a value. */
const COLUMNS = Prisma.sql`${'text "é"'}::text as text, ${7}::int as int, ${2.5}::float8 as float, ${12345678901234567890n}::numeric as numeric,
  ${9007199254740993n}::int8 as bigint, ${true}::bool as bool, ${INSTANT}::timestamptz as instant, ${{ a: [1, null] }}::jsonb as json,
  ${['a', 'b "c"', null]}::text[] as texts, ${[1, 2]}::int[] as ints, ${Buffer.from([0, 255])}::bytea as bytes,
  '6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid as id, null::text as "no text", null::int8 as "no bigint", ${null}::jsonb as "no json"`;

const ROW = {
  text: 'text "é"',
  int: 7,
  float: 2.5,
  numeric: '12345678901234567890',
  bigint: 9007199254740993n,
  bool: true,
  instant: INSTANT,
  json: { a: [1, null] },
  texts: ['a', 'b "c"', null],
  ints: [1, 2],
  bytes: Buffer.from([0, 255]),
  id: '6f9619ff-8b86-d011-b42d-00c04fc964ff',
  'no text': null,
  'no bigint': null,
  'no json': null,
};

const UNNAMED = Prisma.sql`select ${COLUMNS}`;
const NAMED = Prisma.sql`${Prisma.raw(PREPARED)} select ${COLUMNS}`;

async function open() {
  const { url, close } = await createTestDatabase();
  const database = createDatabase({ url, poolSize: 1, statementTimeoutMs: 60_000, onConnectionError: () => undefined });
  onTestFinished(async () => {
    await database.close();
    await close();
  });
  return { url, database };
}

async function expectRow(executor: Executor, statement: Sql): Promise<void> {
  expect(await executor.rows(statement)).toEqual([ROW]);
}

it('values of all types are sent to Postgres and read from it, by prepared statements and others, on every connection', async () => {
  const { url, database } = await open();
  for (const statement of [UNNAMED, NAMED, NAMED]) await expectRow(database, statement);
  await database.transaction(transaction => expectRow(transaction, NAMED));
  await withDedicatedConnection({ url, name: 'test' }, connection => expectRow(connection, UNNAMED));
});

it('statements without rows return none', async () => {
  const { database } = await open();
  expect(await database.rows(Prisma.sql`create table entry (id int)`)).toEqual([]);
  const insert = (id: number) => Prisma.sql`${Prisma.raw(PREPARED)} insert into entry values (${id})`;
  for (const id of [1, 2]) expect(await database.rows(insert(id))).toEqual([]);
  const entries = Prisma.sql`${Prisma.raw(PREPARED)} select id from entry where id > ${5}`;
  for (let i = 0; i < 2; i += 1) expect(await database.rows(entries)).toEqual([]);
});

it('a value that cannot be sent rejects its statement', async () => {
  const { database } = await open();
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  await expect(database.rows(Prisma.sql`select ${circular}::jsonb`)).rejects.toThrow('circular');
  expect(await database.rows(Prisma.sql`select 1 as one`)).toEqual([{ one: 1 }]);
});
