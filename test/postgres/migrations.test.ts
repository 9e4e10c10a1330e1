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

async function writeMigration(name: string, sql: string): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'migration.sql'), sql);
}

async function queryRows(sql: string): Promise<unknown[]> {
  return (await client.query(sql)).rows;
}

describe('migrate', () => {
  it('applies the missing migrations in order, and none twice', async () => {
    await writeMigration('1_a', 'create table a (id int);');
    await writeMigration('2_b', 'alter table a add b int;');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['1_a', '2_b'] });
    expect(await migrate(database.url, { folder })).toEqual({ applied: [] });
    await writeMigration('3_c', 'alter table a add c int;');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['3_c'] });
    expect(await queryRows('select id, b, c from a')).toEqual([]);
  });

  it('records each migration as `prisma migrate deploy` does', async () => {
    await writeMigration('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    expect(await queryRows('select * from public._prisma_migrations')).toEqual([
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

  it('applies a migration again if its record says that it was rolled back', async () => {
    await writeMigration('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    await client.query('drop table a');
    await client.query('update _prisma_migrations set finished_at = null, rolled_back_at = now()');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['1_a'] });
  });

  it('keeps its records in the schema named by `?schema=` of the URL', async () => {
    const url = new URL(database.url);
    url.searchParams.set('schema', 'my records');
    await writeMigration('1_a', 'create table a ();');
    await migrate(url.href, { folder });
    expect(await queryRows('select migration_name from "my records"._prisma_migrations')).toEqual([{ migration_name: '1_a' }]);
    expect(await migrate(url.href, { folder })).toEqual({ applied: [] });
  });

  it('applies a migration once when several processes start at the same time', async () => {
    await writeMigration('1_a', 'create table a ();');
    const results = await Promise.all(Array.from({ length: 5 }, () => migrate(database.url, { folder })));
    expect(results.flatMap(({ applied }) => applied)).toEqual(['1_a']);
  });

  it('fails with an explanation if another process holds the migration lock too long', async () => {
    await writeMigration('1_a', 'create table a ();');
    await client.query('select pg_advisory_lock(72707369)');
    await expect(migrate(database.url, { folder, lockWaitMs: 50 })).rejects.toThrow(/Another process has been migrating/);
  });

  it('rolls back a failing migration as a whole and names the file and line', async () => {
    await writeMigration('1_a', 'create table a ();');
    await writeMigration('2_bad', 'create table b ();\ncreate table c (;\n');
    await expect(migrate(database.url, { folder })).rejects.toThrow(
      /2_bad failed and was rolled back completely:\n.*syntax error.* \(line 2\)/,
    );
    expect(await queryRows("select to_regclass('b') as b, (select count(*)::int from _prisma_migrations) as recorded")).toEqual([
      { b: null, recorded: 1 },
    ]);
    await writeMigration('2_bad', 'create table b ();');
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['2_bad'] });
  });

  it('runs a migration marked WITHOUT_TRANSACTION outside a transaction, and stops at one that failed halfway', async () => {
    await writeMigration('1_a', 'create table a (id int); insert into a values (1), (1);');
    await writeMigration('2_index', `${WITHOUT_TRANSACTION}\ncreate unique index concurrently a_id on a (id);`);
    await expect(migrate(database.url, { folder })).rejects.toThrow(/2_index failed, and its changes so far were kept/);
    await expect(migrate(database.url, { folder })).rejects.toThrow(
      /2_index was started on this database but did not finish:\n.*could not create unique index/s,
    );
    await client.query("drop index a_id; truncate a; delete from _prisma_migrations where migration_name = '2_index'");
    expect(await migrate(database.url, { folder })).toEqual({ applied: ['2_index'] });
  });

  it('stops at a migration file that was changed after it was applied', async () => {
    await writeMigration('1_a', 'create table a ();');
    await migrate(database.url, { folder });
    await writeMigration('1_a', 'create table a (id int);');
    await expect(migrate(database.url, { folder })).rejects.toThrow(/1_a was changed after it was applied/);
  });

  it('stops without changes if it finds tables with its names that it did not create', async () => {
    await client.query('create schema aria_engine; create table aria_engine.chat_sessions (id uuid)');
    await expect(migrate(database.url)).rejects.toThrow(
      /but another program created them: aria_engine\.chat_sessions\.\nIt looks like an Aria database/,
    );
    expect(await queryRows("select to_regclass('_prisma_migrations') as records")).toEqual([{ records: null }]);
  });

  it('applies every migration of the project to an empty database', async () => {
    const names = (await readMigrations(migrationsFolder())).map(({ name }) => name);
    expect(await migrate(database.url)).toEqual({ applied: names });
  });
});
