import { randomInt } from 'node:crypto';
import { Client } from 'pg';

const PREFIX = 'sessiongraph_test';

/** The first key of the advisory lock that each test run holds until it ends. The second key is the number of the run. */
const RUN_LOCK = 1_936_160_115;

/** The Postgres server and the databases of one test run. */
export interface TestServer {
  /** The URL of a database whose user may create databases. */
  readonly adminUrl: string;
  /** The name of the migrated database that each test file clones. */
  readonly template: string;
  /** The prefix of the name of every database of this run. */
  readonly prefix: string;
}

/** Replaces the database in a URL. */
export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

async function dropDatabasesOf(client: Client, prefix: string): Promise<void> {
  const { rows } = await client.query<{ datname: string }>('select datname from pg_database where starts_with(datname, $1)', [
    `${prefix}_`,
  ]);
  for (const { datname } of rows) await client.query(`drop database if exists "${datname}" with (force)`);
}

/** Drops the databases of crashed runs: those whose lock is free. Runs that still hold their lock keep their databases. */
async function dropDatabasesOfCrashedRuns(client: Client): Promise<void> {
  const { rows } = await client.query<{ run: number }>(
    `select distinct split_part(datname, '_', 3)::int as run from pg_database where datname ~ '^${PREFIX}_[0-9]+_'`,
  );
  for (const { run } of rows) {
    const { rows: locked } = await client.query<{ free: boolean }>('select pg_try_advisory_lock($1, $2) as free', [RUN_LOCK, run]);
    if (locked[0]?.free !== true) continue;
    await dropDatabasesOf(client, `${PREFIX}_${run}`);
    await client.query('select pg_advisory_unlock($1, $2)', [RUN_LOCK, run]);
  }
}

/**
 * Creates the template database of this run, and drops the databases of crashed runs.
 * @param adminUrl the URL of a database whose user may create databases
 * @param migrate applies all migrations to the database at the URL
 */
export async function openTestServer(
  adminUrl: string,
  migrate: (url: string) => Promise<unknown>,
): Promise<{ server: TestServer; close(): Promise<void> }> {
  const client = new Client({ connectionString: adminUrl, keepAlive: true });
  await client.connect();
  const run = randomInt(1, 2 ** 31 - 1);
  const prefix = `${PREFIX}_${run}`;
  const close = async () => {
    await dropDatabasesOf(client, prefix);
    await client.end();
  };
  try {
    await client.query('select pg_advisory_lock($1, $2)', [RUN_LOCK, run]);
    await dropDatabasesOfCrashedRuns(client);
    const template = `${prefix}_template`;
    await client.query(`create database "${template}" template template0 encoding 'UTF8'`);
    await migrate(databaseUrl(adminUrl, template));
    return { server: { adminUrl, template, prefix }, close };
  } catch (error) {
    await close();
    throw error;
  }
}
