import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openDatabaseForCommand } from '../../src/embedded/command-database.ts';
import { openDatabase } from '../../src/embedded/open-database.ts';
import { isRunning } from '../../src/embedded/process-identity.ts';
import { startScratchPostgres } from '../../src/embedded/scratch-postgres.ts';
import { postgresPid } from '../process/server-process.ts';
import { createTestDatabase } from '../support/database.ts';
import { runSql } from '../support/sql.ts';
import { databaseUrl } from '../support/test-server.ts';

const warnings: unknown[] = [];
const log = { debug: () => undefined, info: () => undefined, warn: (...args: unknown[]) => void warnings.push(args) };

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const embedded = () => ({ url: null, poolSize: 10, dataFolder: folder, userDataHome: null });
const external = (url: string) => ({ url, poolSize: 10, dataFolder: null, userDataHome: null });

describe('the embedded Postgres', () => {
  it('uses UTF8, ICU collations and UTC, and refuses a wrong password', async () => {
    const database = await openDatabase(embedded(), log);
    expect(
      await runSql(
        database.url,
        `select current_database() as name, pg_encoding_to_char(encoding) as encoding, datctype, datlocprovider as provider,
           lower('ÄΩЖ' collate "und-x-icu") as folded, current_setting('TimeZone') as zone from pg_database where datname = current_database()`,
      ),
    ).toEqual([{ name: 'sessiongraph', encoding: 'UTF8', datctype: expect.any(String), provider: 'i', folded: 'äωж', zone: 'UTC' }]);
    const wrongUrl = new URL(database.url);
    wrongUrl.password = 'wrong';
    await expect(runSql(wrongUrl.href, 'select')).rejects.toThrow(/password authentication failed/);
    await database.close();
    await database.close();
    expect(await postgresPid(folder)).toBeNull();
  });

  it('starts although a stale pid file names a running process that is not Postgres', async () => {
    await writeFile(join(folder, 'postgres-18', 'postmaster.pid'), `${process.pid}\n`);
    const database = await openDatabase(embedded(), log);
    expect(await runSql(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await database.close();
  });

  it('starts after its Postgres was killed, and ends a busy backend process of that Postgres', async () => {
    const killed = await openDatabase(embedded(), log);
    const busy = new pg.Client({ connectionString: killed.url });
    busy.on('error', () => undefined);
    await busy.connect();
    const { rows } = await busy.query<{ pid: number }>('select pg_backend_pid() as pid');
    const longQuery = busy.query('select count(*) from generate_series(1, 100000000000)').catch(() => undefined);
    process.kill((await postgresPid(folder)) ?? 0, 'SIGKILL');
    await killed.failed;
    await killed.close();
    expect(isRunning(rows[0]?.pid ?? 0)).toBe(true);
    const next = await openDatabase(embedded(), log);
    expect(isRunning(rows[0]?.pid ?? 0)).toBe(false);
    await next.close();
    await longQuery;
    await busy.end().catch(() => undefined);
  });

  it('gives commands the database of the running server, and keeps running after they close it', async () => {
    const server = await openDatabase(embedded(), log);
    const command = await openDatabaseForCommand(embedded(), log, 'seed');
    expect(command.url).toBe(server.url);
    await command.close();
    expect(await runSql(server.url, 'select count(*)::int as count from aria_engine.chat_sessions')).toEqual([{ count: 0 }]);
    await server.close();
  });

  it('starts once for several concurrent commands without a server, and stops after the last of them and its clients', async () => {
    const commands = await Promise.all(['seed', 'import', 'export'].map(role => openDatabaseForCommand(embedded(), log, role)));
    expect(new Set(commands.map(({ url }) => url)).size).toBe(1);
    const client = new pg.Client({ connectionString: commands[0]?.url });
    await client.connect();
    const closing = Promise.all(commands.map(command => command.close()));
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await client.end();
    await closing;
    expect(await postgresPid(folder)).toBeNull();
  });
});

describe('an external Postgres', () => {
  it('is described without user and password, and keeps running after close', async () => {
    const { url } = await createTestDatabase();
    const database = await openDatabase(external(url), log);
    expect(database.url).toBe(url);
    expect(database.description).toBe(`Postgres at ${new URL(url).host}${new URL(url).pathname}`);
    await database.close();
    await runSql(url, 'select 1');
  });

  it('is refused if its encoding is not UTF8', async () => {
    const { adminUrl, prefix } = inject('testServer');
    const name = `${prefix}_latin`;
    await runSql(
      adminUrl,
      `create database "${name}" template template0 encoding 'LATIN1' locale_provider libc lc_collate 'C' lc_ctype 'C'`,
    );
    await expect(openDatabase(external(databaseUrl(adminUrl, name)), log)).rejects.toThrow(/is encoded as LATIN1; Sessiongraph needs UTF8/);
  });

  it('causes a warning if its LC_CTYPE is C', async () => {
    const { adminUrl, prefix } = inject('testServer');
    const name = `${prefix}_plain`;
    await runSql(adminUrl, `create database "${name}" template template0 encoding 'UTF8' locale_provider libc lc_collate 'C' lc_ctype 'C'`);
    warnings.length = 0;
    await openDatabase(external(databaseUrl(adminUrl, name)), log);
    expect(String(warnings)).toContain('has LC_CTYPE C');
  });
});

describe('startScratchPostgres', () => {
  it('gives a Postgres that no longer runs after close', async () => {
    const scratch = await startScratchPostgres();
    await runSql(scratch.url, 'create database other');
    await scratch.close();
    await expect(runSql(scratch.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
  });
});
