import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checksumOf, migrate, migrationsFolder, readMigrations, WITHOUT_TRANSACTION } from '../../src/postgres/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let folder: string;
let client: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterEach(async () => {
  await client.end();
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

async function put(name: string, sql: string): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'migration.sql'), sql);
}

async function rows(sql: string): Promise<unknown[]> {
  return (await client.query(sql)).rows;
}

describe('migrate', () => {
  it('applies what is missing, in order, and nothing twice', async () => {
    await put('1_a', 'create table a (id int);');
    await put('2_b', 'alter table a add b int;');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['1_a', '2_b'] });
    expect(await migrate(database.url, { folder })).toEqual({ applied: [] });
    await put('3_c', 'alter table a add c int;');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['3_c'] });
    expect(await rows('select id, b, c from a')).toEqual([]);
  });

  it('records each as `prisma migrate deploy` does', async () => {
    await put('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    expect(await rows('select * from public._prisma_migrations')).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        checksum: checksumOf('create table a ();'),
        started_at: expect.any(Date),
        finished_at: expect.any(Date),
        migration_name: '1_a',
        logs: null,
        rolled_back_at: null,
        applied_steps_count: 1,
      },
    ]);
  });

  it('finds the records of `prisma migrate deploy`, rolled back ones aside', async () => {
    await put('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    await client.query('drop table a');
    await client.query('update _prisma_migrations set finished_at = null, rolled_back_at = now()');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['1_a'] });
  });

  it('keeps the records in the schema that the URL names', async () => {
    const url = new URL(database.url);
    url.searchParams.set('schema', 'my records');
    await put('1_a', 'create table a ();');
    await migrate(url.href, { folder });
    expect(await rows('select migration_name from "my records"._prisma_migrations')).toEqual([{ migration_name: '1_a' }]);
    expect(await migrate(url.href, { folder })).toEqual({ applied: [] });
  });

  it('lets one of several processes at once do the work', async () => {
    await put('1_a', 'create table a ();');
    const results = await Promise.all(Array.from({ length: 5 }, () => migrate(database.url, { folder })));
    expect(results.flatMap(({ applied }) => applied)).toEqual(['1_a']);
  });

  it('says so where another process does not come to an end', async () => {
    await put('1_a', 'create table a ();');
    await client.query('select pg_advisory_lock(72707369)');
    await expect(migrate(database.url, { folder, lockWaitMs: 50 })).rejects.toThrow(/Another process has been migrating/);
  });

  it('leaves nothing of a migration that fails, and names the place', async () => {
    await put('1_a', 'create table a ();');
    await put('2_bad', 'create table b ();\ncreate table c (;\n');
    await expect(migrate(database.url, { folder })).rejects.toThrow(
      /2_bad failed and was rolled back as a whole:\n.*syntax error.* \(line 2\)/,
    );
    expect(await rows("select to_regclass('b') as b, (select count(*)::int from _prisma_migrations) as recorded")).toEqual([
      { b: null, recorded: 1 },
    ]);
    await put('2_bad', 'create table b ();');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['2_bad'] });
  });

  it('runs a marked migration outside a transaction, and stops at one that was half applied', async () => {
    await put('1_a', 'create table a (id int); insert into a values (1), (1);');
    await put('2_index', `${WITHOUT_TRANSACTION}\ncreate unique index concurrently a_id on a (id);`);
    await expect(migrate(database.url, { folder })).rejects.toThrow(/2_index failed, and what it had done stays/);
    await expect(migrate(database.url, { folder })).rejects.toThrow(
      /2_index was begun on this database and not finished:\n.*could not create unique index/s,
    );
    await client.query("drop index a_id; truncate a; delete from _prisma_migrations where migration_name = '2_index'");
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['2_index'] });
  });

  it('stops at a file that was changed after it had been applied', async () => {
    await put('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    await put('1_a', 'create table a (id int);');
    await expect(migrate(database.url, { folder })).rejects.toThrow(/1_a was changed after it had been applied/);
  });

  it('stops at tables under our names that it did not make, and changes nothing', async () => {
    await client.query('create schema aria_engine; create table aria_engine.chat_sessions (id uuid)');
    await expect(migrate(database.url)).rejects.toThrow(
      /under the names it uses: aria_engine\.chat_sessions\.\nIt looks like an Aria database/,
    );
    expect(await rows("select to_regclass('_prisma_migrations') as records")).toEqual([{ records: null }]);
  });

  it('brings an empty database to the present', async () => {
    const names = (await readMigrations(migrationsFolder())).map(({ name }) => name);
    expect(await migrate(database.url)).toEqual({ applied: names });
  });
});
