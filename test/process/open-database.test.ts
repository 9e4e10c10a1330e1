import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openDatabase, openDatabaseForCommand, startScratchPostgres } from '../../src/embedded/open-database.ts';
import { isRunning } from '../../src/embedded/process-identity.ts';
import { createTestDatabase } from '../support/database.ts';
import { runSql } from '../support/sql.ts';
import { databaseUrl } from '../support/test-server.ts';
import { postgresPid } from './server-process.ts';

const warnings: unknown[] = [];
const log = { debug: () => undefined, info: () => undefined, warn: (...words: unknown[]) => void warnings.push(words) };

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const embedded = () => ({ url: null, poolSize: 10, dataFolder: folder, userDataHome: null });
const outside = (url: string) => ({ url, poolSize: 10, dataFolder: null, userDataHome: null });

async function ask<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('the embedded Postgres', () => {
  it('knows text as DESIGN.md wants it, and takes nobody without the password', async () => {
    const database = await openDatabase(embedded(), log);
    expect(
      await ask(
        database.url,
        `select current_database() as name, pg_encoding_to_char(encoding) as encoding, datctype, datlocprovider as provider,
           lower('ÄΩЖ' collate "und-x-icu") as folded, current_setting('TimeZone') as zone from pg_database where datname = current_database()`,
      ),
    ).toEqual([{ name: 'sessiongraph', encoding: 'UTF8', datctype: expect.any(String), provider: 'i', folded: 'äωж', zone: 'UTC' }]);
    const stranger = new URL(database.url);
    stranger.password = 'wrong';
    await expect(ask(stranger.href, 'select')).rejects.toThrow(/password authentication failed/);
    await database.close();
    await database.close();
    expect(await postgresPid(folder)).toBeNull();
  });

  it('is not misled by a pid file that names a stranger', async () => {
    await writeFile(join(folder, 'postgres-18', 'postmaster.pid'), `${process.pid}\n`);
    const database = await openDatabase(embedded(), log);
    expect(await ask(database.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await database.close();
  });

  it('gets past a busy process that outlived its killed Postgres', async () => {
    const killed = await openDatabase(embedded(), log);
    const busy = new pg.Client({ connectionString: killed.url });
    busy.on('error', () => undefined);
    await busy.connect();
    const { rows } = await busy.query<{ pid: number }>('select pg_backend_pid() as pid');
    const query = busy.query('select count(*) from generate_series(1, 100000000000)').catch(() => undefined);
    process.kill((await postgresPid(folder)) ?? 0, 'SIGKILL');
    await killed.failed;
    await killed.close();
    expect(isRunning(rows[0]?.pid ?? 0)).toBe(true);
    const next = await openDatabase(embedded(), log);
    expect(isRunning(rows[0]?.pid ?? 0)).toBe(false);
    await next.close();
    await query;
    await busy.end().catch(() => undefined);
  });

  it('serves commands from the running server, and stays when they are done', async () => {
    const server = await openDatabase(embedded(), log);
    const command = await openDatabaseForCommand(embedded(), log, 'seed');
    expect(command.url).toBe(server.url);
    await command.close();
    expect(await ask(server.url, 'select count(*)::int as count from aria_engine.chat_sessions')).toEqual([{ count: 0 }]);
    await server.close();
  });

  it('starts for commands alone, one of several at once, and ends with the last', async () => {
    const commands = await Promise.all(['seed', 'import', 'export'].map(role => openDatabaseForCommand(embedded(), log, role)));
    expect(new Set(commands.map(({ url }) => url)).size).toBe(1);
    const user = new pg.Client({ connectionString: commands[0]?.url });
    await user.connect();
    const closing = Promise.all(commands.map(command => command.close()));
    expect((await user.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await user.end();
    await closing;
    expect(await postgresPid(folder)).toBeNull();
  });
});

describe('an outside Postgres', () => {
  it('is described without its password', async () => {
    const { url } = await createTestDatabase();
    const database = await openDatabase(outside(url), log);
    expect(database.url).toBe(url);
    expect(database.description).toBe(`Postgres at ${new URL(url).host}${new URL(url).pathname}`);
    await database.close();
    await runSql(url, 'select 1');
  });

  it('is refused where its text is not UTF8', async () => {
    const { adminUrl, prefix } = inject('testServer');
    const name = `${prefix}_latin`;
    await runSql(
      adminUrl,
      `create database "${name}" template template0 encoding 'LATIN1' locale_provider libc lc_collate 'C' lc_ctype 'C'`,
    );
    await expect(openDatabase(outside(databaseUrl(adminUrl, name)), log)).rejects.toThrow(/is encoded as LATIN1; Sessiongraph needs UTF8/);
  });

  it('is warned about where its letters are only those of ASCII', async () => {
    const { adminUrl, prefix } = inject('testServer');
    const name = `${prefix}_plain`;
    await runSql(adminUrl, `create database "${name}" template template0 encoding 'UTF8' locale_provider libc lc_collate 'C' lc_ctype 'C'`);
    warnings.length = 0;
    await openDatabase(outside(databaseUrl(adminUrl, name)), log);
    expect(String(warnings)).toContain('has LC_CTYPE C');
  });
});

describe('startScratchPostgres', () => {
  it('is gone with everything in it when closed', async () => {
    const scratch = await startScratchPostgres();
    await runSql(scratch.url, 'create database other');
    await scratch.close();
    await expect(runSql(scratch.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
  });
});
