import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { reasonOf, StartError } from '../errors.ts';
import { parseConnectionUrl } from './connection-url.ts';
import { type QueryClient, withDedicatedConnection } from './dedicated-connection.ts';
import { isLockTimeout } from './sql-state.ts';

/** The result of a run of migrations. */
export interface MigrationResult {
  /** The names of the migrations that this run applied, in order. */
  readonly applied: string[];
}

export interface MigrationOptions {
  /** The folder with one folder per migration, each with a `migration.sql`; by default this program's `prisma/migrations`. */
  readonly folder?: string;
  /** How long to wait for another process that is migrating. */
  readonly lockWaitMs?: number;
}

/** A migration on disk. */
export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** The columns of a row of `_prisma_migrations` that are used here. */
export interface RecordedMigration {
  readonly name: string;
  readonly checksum: string;
  readonly finished: boolean;
  readonly logs: string | null;
}

/** The advisory lock of `prisma migrate deploy`. */
const LOCK_KEY = 72_707_369;
const LOCK_WAIT_MS = 300_000;

/** The first line of a migration that runs outside a transaction, as `create index concurrently` must. It contains one statement. */
export const WITHOUT_TRANSACTION = '-- without transaction';

/** The table as Prisma creates it. */
const recordsTable = (records: string) => `
  create table ${records} (
    "id" varchar(36) primary key not null,
    "checksum" varchar(64) not null,
    "finished_at" timestamptz,
    "migration_name" varchar(255) not null,
    "logs" text,
    "rolled_back_at" timestamptz,
    "started_at" timestamptz not null default now(),
    "applied_steps_count" integer not null default 0
  )`;

/**
 * Applies the migrations that a database lacks. They are recorded as `prisma migrate deploy` records them, so either program can continue
 * after the other. Processes that start at the same time wait for each other.
 * @param url a connection URL; its `?schema=` names the schema of the records, `public` by default
 * @throws StartError if the records and the files disagree, a migration fails, or another program owns tables with our names
 */
export async function migrate(url: string, options: MigrationOptions = {}): Promise<MigrationResult> {
  const { schema } = parseConnectionUrl(url);
  const migrations = await readMigrations(options.folder ?? migrationsFolder());
  // Closing the connection releases the lock.
  return withDedicatedConnection({ url, name: 'sessiongraph migrations' }, async ({ client }) => {
    await lock(client, options.lockWaitMs ?? LOCK_WAIT_MS);
    // Migrations qualify their names, so that extensions go where the database's own search path says.
    const records = `${pg.escapeIdentifier(schema)}."_prisma_migrations"`;
    const recorded = await readRecords(client, records);
    const pending = planMigrations(migrations, recorded ?? []);
    if (pending.length === 0) return { applied: [] };
    if ((recorded ?? []).length === 0) await refuseForeignRelations(client, migrations);
    if (recorded === null) {
      if (schema !== 'public') await client.query(`create schema if not exists ${pg.escapeIdentifier(schema)}`);
      await client.query(recordsTable(records));
    }
    for (const migration of pending) {
      if (migration.sql.startsWith(WITHOUT_TRANSACTION)) await applyBare(client, records, migration);
      else await applyInTransaction(client, records, migration);
    }
    return { applied: pending.map(({ name }) => name) };
  });
}

/** The migrations of a folder, in the order of their names. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter(entry => entry.isDirectory()).map(entry => entry.name);
  return Promise.all(names.sort().map(async name => ({ name, sql: await readFile(join(folder, name, 'migration.sql'), 'utf8') })));
}

/** This program's `prisma/migrations`, which stands beside both the source and the build. */
export function migrationsFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new StartError(`There is no prisma/migrations above ${import.meta.dirname}.`);
    folder = dirname(folder);
  }
  return join(folder, 'prisma', 'migrations');
}

/** Prisma's checksum of a migration: its SHA-256 in hexadecimal. */
export function checksumOf(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}

/**
 * The migrations that are still to be applied, in order.
 * @throws StartError if a recorded migration failed, was changed since, or is not on disk
 */
export function planMigrations(migrations: readonly Migration[], recorded: readonly RecordedMigration[]): Migration[] {
  const onDisk = new Map(migrations.map(migration => [migration.name, migration]));
  for (const { name, finished, logs } of recorded) {
    if (finished) continue;
    throw new StartError(
      `The migration ${name} was started on this database but did not finish${logs === null ? '.' : `:\n${logs}`}\n` +
        'Bring the database to the state before it and remove its row from _prisma_migrations, or to the state after it and set\n' +
        "the row's finished_at (prisma migrate resolve does the same). Then start again.",
    );
  }
  for (const { name, checksum } of recorded) {
    const migration = onDisk.get(name);
    if (migration === undefined) {
      throw new StartError(
        `This version of Sessiongraph does not know a migration of this database: ${name}.\n` +
          'If a newer version applied it, start that version. If another program keeps its Prisma migrations in this database, give\n' +
          'Sessiongraph a database of its own, or a schema for its records (?schema=sessiongraph at the end of DATABASE_URL).',
      );
    }
    if (!matches(migration.sql, checksum)) {
      throw new StartError(
        `The file of the migration ${name} was changed after it was applied to this database.\n` +
          'Restore the file (git checkout) and put the change into a new migration (npm run new-migration).',
      );
    }
  }
  const known = new Set(recorded.map(({ name }) => name));
  return migrations.filter(({ name }) => !known.has(name));
}

/** Compares checksums with either line ending, as Prisma does: the checkout may have other line endings than the applied file. */
function matches(sql: string, checksum: string): boolean {
  const unix = sql.replaceAll('\r\n', '\n');
  return [sql, unix, unix.replaceAll('\n', '\r\n')].some(text => checksumOf(text) === checksum);
}

async function lock(client: QueryClient, waitMs: number): Promise<void> {
  await client.query('select set_config($1, $2, false)', ['lock_timeout', `${waitMs}ms`]);
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK_KEY]);
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    throw new StartError('Another process has been migrating this database for too long. Check pg_stat_activity, then start again.');
  }
  await client.query('reset lock_timeout');
  // The URL or the database may set a statement timeout, but an index on a large table takes long.
  await client.query('set statement_timeout = 0');
}

/** Null if the table of records does not exist. */
async function readRecords(client: QueryClient, records: string): Promise<RecordedMigration[] | null> {
  const { rows: found } = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [records]);
  if (found[0]?.found !== true) return null;
  const { rows } = await client.query<RecordedMigration>(
    `select migration_name as name, checksum, finished_at is not null as finished, logs
     from ${records} where rolled_back_at is null order by started_at, migration_name`,
  );
  return rows;
}

/** The tables and types that the migrations create, as [schema, name]. */
export function relationsMadeBy(migrations: readonly Migration[]): [string, string][] {
  const made = migrations.flatMap(({ sql }) => [...sql.matchAll(/^create (?:table|type|sequence) (?:if not exists )?"(\w+)"\."(\w+)"/gim)]);
  return made.map(([, schema = '', name = '']) => [schema, name]);
}

async function refuseForeignRelations(client: QueryClient, migrations: readonly Migration[]): Promise<void> {
  const relations = relationsMadeBy(migrations);
  const { rows } = await client.query<{ name: string }>(
    `select schema || '.' || name as name
     from unnest($1::text[], $2::text[]) as ours (schema, name)
     where to_regclass(format('%I.%I', schema, name)) is not null or to_regtype(format('%I.%I', schema, name)) is not null`,
    [relations.map(([schema]) => schema), relations.map(([, name]) => name)],
  );
  if (rows.length === 0) return;
  throw new StartError(
    `This database has tables with the names that Sessiongraph uses, but another program created them: ${rows.map(({ name }) => name).join(', ')}.\n` +
      'It looks like an Aria database. Nothing was changed. Give Sessiongraph a database of its own: run\n' +
      '  createdb --encoding=UTF8 --template=template0 sessiongraph\n' +
      'and set DATABASE_URL to it, or unset DATABASE_URL to use the embedded Postgres.',
  );
}

const recordStart = (records: string) => `insert into ${records} (id, checksum, migration_name) values ($1, $2, $3)`;
const recordEnd = (records: string) => `update ${records} set finished_at = clock_timestamp(), applied_steps_count = 1 where id = $1`;

async function applyInTransaction(client: QueryClient, records: string, { name, sql }: Migration): Promise<void> {
  const id = randomUUID();
  try {
    await client.query('begin');
    await client.query(recordStart(records), [id, checksumOf(sql), name]);
    await client.query(sql);
    await client.query(recordEnd(records), [id]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw new StartError(`The migration ${name} failed and was rolled back completely:\n${placeOf(error, sql)}`);
  }
}

/** A failed migration may be half done: its record without an end then stops every later start. */
async function applyBare(client: QueryClient, records: string, { name, sql }: Migration): Promise<void> {
  const id = randomUUID();
  await client.query(recordStart(records), [id, checksumOf(sql), name]);
  try {
    await client.query(sql);
  } catch (error) {
    const place = placeOf(error, sql);
    await client.query(`update ${records} set logs = $2 where id = $1`, [id, place]).catch(() => undefined);
    throw new StartError(`The migration ${name} failed, and its changes so far were kept:\n${place}`);
  }
  await client.query(recordEnd(records), [id]);
}

function placeOf(error: unknown, sql: string): string {
  const position = error instanceof pg.DatabaseError ? Number(error.position) : Number.NaN;
  const line = position > 0 ? ` (line ${sql.slice(0, position).split('\n').length})` : '';
  return `  ${reasonOf(error)}${line}`;
}
