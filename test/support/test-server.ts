import { randomInt } from 'node:crypto';
import { Client } from 'pg';

const PREFIX = 'sessiongraph_test';

/** First half of the advisory lock that a run of the tests holds on the server as long as it lives. */
const RUN_LOCK = 1_936_160_115;

/** Where the tests of one run find their Postgres. */
export interface TestServer {
  /** URL of a database from which others can be created. */
  readonly adminUrl: string;
  /** The migrated database that each test file clones. */
  readonly template: string;
  /** Begins the name of every database of this run. */
  readonly prefix: string;
}

/** The same server and user as `url`, another database. */
export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

async function dropRun(client: Client, prefix: string): Promise<void> {
  const { rows } = await client.query<{ datname: string }>('select datname from pg_database where starts_with(datname, $1)', [
    `${prefix}_`,
  ]);
  for (const { datname } of rows) await client.query(`drop database if exists "${datname}" with (force)`);
}

/** Runs that died leave databases but no lock; those of other runs still under way are left alone. */
async function dropLeftovers(client: Client): Promise<void> {
  const { rows } = await client.query<{ run: number }>(
    `select distinct split_part(datname, '_', 3)::int as run from pg_database where datname ~ '^${PREFIX}_[0-9]+_'`,
  );
  for (const { run } of rows) {
    const { rows: locked } = await client.query<{ free: boolean }>('select pg_try_advisory_lock($1, $2) as free', [RUN_LOCK, run]);
    if (locked[0]?.free !== true) continue;
    await dropRun(client, `${PREFIX}_${run}`);
    await client.query('select pg_advisory_unlock($1, $2)', [RUN_LOCK, run]);
  }
}

/**
 * Makes the template database of this run, and drops what crashed runs left on the server.
 * @param adminUrl a database whose user may create databases
 * @param migrate brings the database at the URL to the current schema
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
    await dropRun(client, prefix);
    await client.end();
  };
  try {
    await client.query('select pg_advisory_lock($1, $2)', [RUN_LOCK, run]);
    await dropLeftovers(client);
    const template = `${prefix}_template`;
    await client.query(`create database "${template}" template template0 encoding 'UTF8'`);
    await migrate(databaseUrl(adminUrl, template));
    return { server: { adminUrl, template, prefix }, close };
  } catch (error) {
    await close();
    throw error;
  }
}
