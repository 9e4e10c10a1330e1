import { randomBytes } from 'node:crypto';
import type { Config } from '../../src/config.ts';
import { openDatabaseForCommand } from '../../src/embedded/command-database.ts';
import { startScratchPostgres } from '../../src/embedded/scratch-postgres.ts';
import type { Logger } from '../../src/log.ts';
import { type DedicatedConnection, withDedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import { writeSessions } from '../seed/seed-writer.ts';
import { generateSessions } from '../seed/session-generator.ts';
import type { PagePlace, WorkloadMaterial } from './workload.ts';

/** A temporary database for one run of the benchmark. */
export interface ScratchDatabase {
  readonly url: string;
  /** The kind and version of Postgres, for the result. */
  readonly description: string;
  readonly material: WorkloadMaterial;
}

/** Registers a clean-up. All of them run at the end of the run, the last one first, even if the run fails. */
export type Defer = (cleanUp: () => Promise<unknown>) => void;

const SEED = 1;
const UNTIL = new Date('2026-01-31T12:00:00.000Z');
const READ_SESSIONS = 500;
const RARE_TERM = 'narwhal';
const COMMON_TERM = 'index';

/**
 * Creates a database with seed data, on the Postgres of DATABASE_URL or on a temporary Postgres that does not sync writes to disk.
 * @param defer registers the removal of the database
 */
export async function createScratchDatabase(
  config: Config,
  log: Logger,
  size: { readonly sessions: number; readonly messages: number },
  defer: Defer,
): Promise<ScratchDatabase> {
  const scratch = config.database.url === null ? await startScratchPostgres() : null;
  if (scratch !== null) defer(() => scratch.close());
  const admin = scratch?.url ?? config.database.url ?? '';
  const name = `sessiongraph_bench_${randomBytes(4).toString('hex')}`;
  defer(() => withClient(admin, client => client.query(`drop database if exists "${name}" with (force)`)));
  await withClient(admin, client => client.query(`create database "${name}" template template0 encoding 'UTF8'`));
  const target = new URL(admin);
  target.pathname = `/${name}`;
  const opened = await openDatabaseForCommand({ ...config.database, url: target.href }, log, 'bench');
  await opened.close();
  const { material, version } = await withClient(target.href, client => fill(client, config, size));
  return { url: target.href, description: `${scratch === null ? 'Postgres' : 'unsynced scratch Postgres'} ${version}`, material };
}

function withClient<Result>(url: string, work: (client: DedicatedConnection['client']) => Promise<Result>): Promise<Result> {
  return withDedicatedConnection({ url, name: 'sessiongraph bench' }, ({ client }) => work(client));
}

/** The places after each twentieth session of the default list, up to sixty. */
async function findPlaces(client: DedicatedConnection['client']): Promise<readonly PagePlace[]> {
  const { rows } = await client.query<PagePlace>(`select at, id from (
      select last_activity_at::text as at, session_id as id, row_number() over (order by last_activity_at desc, session_id desc) as place
      from aria_engine.chat_session_activity where listed
    ) listed where place % 20 = 0 order by place limit 60`);
  return rows;
}

async function fill(client: DedicatedConnection['client'], config: Config, size: { readonly sessions: number; readonly messages: number }) {
  const keys = { defaultAgent: config.sessions.defaultAgent, mainKey: config.sessions.mainKey };
  await writeSessions(client, generateSessions({ ...size, seed: SEED, until: UNTIL, keys }), keys);
  // Moves the new entries out of the pending lists of the GIN indexes, which slow down searches.
  await client.query('vacuum (analyze) aria_engine.chat_messages');
  const { rows } = await client.query<{ version: string; superuser: boolean }>(
    `select current_setting('server_version') as version, current_setting('is_superuser') = 'on' as superuser`,
  );
  // Without a checkpoint, Postgres would write the new pages during the first measurements. Only superusers may run it.
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
      places: await findPlaces(client),
      openSessionIds: await ids(`status = 'ACTIVE'`, 64),
      rareTerm: RARE_TERM,
      commonTerm: COMMON_TERM,
    },
  };
}
