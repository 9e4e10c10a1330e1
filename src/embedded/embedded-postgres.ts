import { totalmem } from 'node:os';
import type { Logger } from 'pino';
import { withDedicatedConnection } from '../postgres/dedicated-connection.ts';
import { makeReachable } from './data-folder.ts';
import { stopOrphanedPostgres } from './orphaned-postgres.ts';
import { findPostgresBinaries, readablePostgresBinaries } from './postgres-binaries.ts';
import { clusterPath, ensureCluster, findClusterAccount, POSTGRES_NAME } from './postgres-cluster.ts';
import { launchPostgres } from './postgres-process.ts';
import { readFreeSharedMemory, serverSettings } from './postgres-settings.ts';

/** An embedded Postgres that accepts connections. */
export interface EmbeddedPostgres {
  /** The database `sessiongraph` with a superuser's name and password. */
  readonly url: string;
  /** Resolves with the reason if Postgres ends without `stop`. */
  readonly failed: Promise<string>;
  /** Ends every connection, then Postgres. Everything is then on disk. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** The data folder, which exists and is claimed by this process. */
  readonly folder: string;
  /** The most connections that Postgres accepts. */
  readonly maxConnections: number;
  /** False if data may be lost in a power cut, for tests. */
  readonly durable: boolean;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/**
 * Starts Postgres on a data folder. First stops a Postgres that a killed server left behind, and creates the cluster if there is none.
 * Postgres listens on a free loopback port and requires the password in the folder.
 * @throws StartError if Postgres cannot run here
 */
export async function startEmbeddedPostgres({ folder, maxConnections, durable, log }: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await stopOrphanedPostgres(folder, log);
  const account = await findClusterAccount(clusterPath(folder));
  if (account !== null) await makeReachable(folder, account);
  const binaries = account === null ? findPostgresBinaries() : await readablePostgresBinaries(folder, account);
  const password = await ensureCluster({ folder, binaries, account, durable, log });
  const settings = serverSettings({ maxConnections, durable, memory: totalmem(), sharedMemory: await readFreeSharedMemory() });
  const urlOf = (port: number, database = 'postgres') =>
    `postgresql://${POSTGRES_NAME}:${password}@127.0.0.1:${port}/${database}?sslmode=disable`;
  const { port, failed, stop } = await launchPostgres({ folder, binaries, account, settings, urlOf, log });
  try {
    await ensureDatabase(urlOf(port));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: urlOf(port, POSTGRES_NAME), failed, stop };
}

async function ensureDatabase(url: string): Promise<void> {
  await withDedicatedConnection({ url, name: 'sessiongraph set-up' }, async ({ client }) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [POSTGRES_NAME]);
    if (rowCount === 0) await client.query(`create database ${POSTGRES_NAME}`);
  });
}
