import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { Config } from '../../src/config.ts';
import { openDatabaseForCommand } from '../../src/embedded/command-database.ts';
import { startScratchPostgres } from '../../src/embedded/scratch-postgres.ts';
import type { Logger } from '../../src/log.ts';
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts';
import { writeSessions } from '../seed/seed-writer.ts';
import { generateSessions } from '../seed/session-generator.ts';
import type { WorkloadMaterial } from './workload.ts';

/** A database that is there for one run of the benchmark. */
export interface ScratchDatabase {
  readonly url: string;
  /** For people. */
  readonly description: string;
  readonly material: WorkloadMaterial;
}

/** Keeps what is to be done at the end, last first, however the run ends. */
export type Defer = (cleanUp: () => Promise<unknown>) => void;

const SEED = 1;
const UNTIL = new Date('2026-01-31T12:00:00.000Z');
const READ_SESSIONS = 500;
const RARE_TERM = 'narwhal';
const COMMON_TERM = 'index';

/**
 * Makes a database with seed data and gives what requests to it are made of.
 * On the server of DATABASE_URL where that is set, else on a Postgres of its own, whose writes are not synced to disk.
 * @param defer takes the removal of the database
 */
export async function createScratchDatabase(
  config: Config,
  log: Logger,
  size: { readonly sessions: number; readonly messages: number },
  defer: Defer,
): Promise<ScratchDatabase> {
  const own = config.database.url === null ? await startScratchPostgres() : null;
  if (own !== null) defer(() => own.close());
  const admin = own?.url ?? config.database.url ?? '';
  const name = `sessiongraph_bench_${randomBytes(4).toString('hex')}`;
  defer(() => withClient(admin, client => client.query(`drop database if exists "${name}" with (force)`)));
  await withClient(admin, client => client.query(`create database "${name}" template template0 encoding 'UTF8'`));
  const target = new URL(admin);
  target.pathname = `/${name}`;
  const opened = await openDatabaseForCommand({ ...config.database, url: target.href }, log, 'bench');
  await opened.close();
  const url = parseConnectionUrl(target.href).connectionString;
  const { material, version } = await withClient(url, client => fill(client, config, size));
  return { url, description: `${own === null ? 'Postgres' : 'unsynced scratch Postgres'} ${version}`, material };
}

async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: parseConnectionUrl(url).connectionString, application_name: 'sessiongraph bench' });
  // A connection that breaks fails the statement on it as well.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function fill(client: pg.Client, config: Config, size: { readonly sessions: number; readonly messages: number }) {
  const keys = { defaultAgent: config.sessions.defaultAgent, mainKey: config.sessions.mainKey };
  await writeSessions(client, generateSessions({ ...size, seed: SEED, until: UNTIL, keys }), keys);
  // The inserts' entries still lie in the pending lists of the GIN indexes, which searches would read through.
  await client.query('vacuum (analyze) aria_engine.chat_messages');
  const { rows } = await client.query<{ version: string; superuser: boolean }>(
    `select current_setting('server_version') as version, current_setting('is_superuser') = 'on' as superuser`,
  );
  // Else the dirty pages would be written during the first measurements; an ordinary user may not ask for it.
  if (rows[0]?.superuser === true) await client.query('checkpoint');
  const ids = async (condition: string, limit: number) => {
    const found = await client.query<{ id: string }>(
      `select id from aria_engine.chat_sessions where deleted_at is null and superseded_at is null and ${condition} order by md5(id::text) limit $1`,
      [limit],
    );
    return found.rows.map(({ id }) => id);
  };
  return {
    version: rows[0]?.version.split(' ')[0] ?? '',
    material: {
      sessionIds: await ids('true', READ_SESSIONS),
      openSessionIds: await ids(`status = 'ACTIVE'`, 64),
      rareTerm: RARE_TERM,
      commonTerm: COMMON_TERM,
    },
  };
}
