import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writePrivateFile } from './data-folder.ts';
import { claimFolder, type FolderClaim } from './data-folder-owner.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';
import type { DatabaseLog, OpenDatabase } from './open-database.ts';

export interface EmbeddedDatabaseOptions {
  /** The data folder, which exists. */
  readonly folder: string;
  /** `server`, or the name of the command that needs the database. */
  readonly role: string;
  readonly poolSize: number;
  /** False if data may be lost in a power cut, for tests. */
  readonly durable: boolean;
  readonly log: DatabaseLog;
  /** How long to wait for an owner that is draining; 15 seconds by default. */
  readonly drainWaitMs?: number;
  /** Ends that wait. */
  readonly signal?: AbortSignal;
}

/** Connections besides the pool's: sequencer, listener, upkeep, commands and people. */
const EXTRA_CONNECTIONS = 80;
const URL_FILE = 'database-url';

/**
 * Claims a data folder, starts the embedded Postgres on it, and publishes its URL in the folder for commands.
 * @throws StartError if Postgres cannot run here, FolderTakenError if another process uses the folder
 */
export async function openEmbeddedDatabase(options: EmbeddedDatabaseOptions): Promise<OpenDatabase> {
  const { folder, role, poolSize, durable, log } = options;
  const claim = await claimFolder(folder, { role, drainWaitMs: options.drainWaitMs, signal: options.signal });
  try {
    const postgres = await startEmbeddedPostgres({ folder, maxConnections: poolSize + EXTRA_CONNECTIONS, durable, log });
    await writePrivateFile(folder, URL_FILE, `${postgres.url}\n`);
    await claim.setState('running');
    return toDatabase(folder, claim, postgres);
  } catch (error) {
    await claim.release();
    throw error;
  }
}

/** The URL that the folder's owner has published; null if there is none. */
export async function readPublishedUrl(folder: string): Promise<string | null> {
  return readFile(join(folder, URL_FILE), 'utf8').then(
    text => text.trim(),
    () => null,
  );
}

/** The description of the embedded Postgres in a folder, for messages. */
export function describeEmbedded(folder: string): string {
  return `embedded Postgres in ${folder}`;
}

function toDatabase(folder: string, claim: FolderClaim, postgres: EmbeddedPostgres): OpenDatabase {
  let closed: Promise<void> | null = null;
  const close = async () => {
    await claim.setState('draining');
    await rm(join(folder, URL_FILE), { force: true });
    await postgres.stop();
    await claim.release();
  };
  return {
    url: postgres.url,
    description: describeEmbedded(folder),
    failed: postgres.failed,
    drain: () => claim.setState('draining'),
    close() {
      closed ??= close();
      return closed;
    },
  };
}
