import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../errors.ts';
import { ensureEventPartitions } from '../events/partitions.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { withDedicatedConnection } from '../postgres/dedicated-connection.ts';
import { migrate } from '../postgres/migrations.ts';
import { dataFolderPath, prepareDataFolder } from './data-folder.ts';
import { FolderTakenError, readFolderOwner } from './data-folder-owner.ts';
import { describeEmbedded, openEmbeddedDatabase, readPublishedUrl } from './embedded-database.ts';
import type { DatabaseLog, DatabaseSettings, OpenDatabase } from './open-database.ts';
import { openOutsideDatabase } from './outside-database.ts';

/** A database for a command, with every migration applied. */
export interface CommandDatabase {
  /** With the credentials. */
  readonly url: string;
  /** Without the credentials, for messages. */
  readonly description: string;
  /** Names of the migrations that this command applied. */
  readonly applied: readonly string[];
  /**
   * If the command started Postgres, stops it as soon as no other command uses it.
   * Close the command's own connections first: `close` waits for them.
   */
  close(): Promise<void>;
}

/** Before the migrations are applied. */
type FoundDatabase = Omit<CommandDatabase, 'applied'>;

const POLL_MS = 100;
/** How long to wait for the folder's owner to start or to end. */
const OWNER_WAIT_MS = 30_000;
/** The exit code of a process that SIGINT ended. */
const INTERRUPTED_EXIT = 130;

/**
 * Opens the database for a command: the one in DATABASE_URL, else that of the server or command that uses the data folder, else the
 * embedded Postgres while the command runs. Applies missing migrations.
 * @param role the name of the command, shown to others that find it using the folder
 * @param options.exitOnSignal by default a signal stops the embedded Postgres and ends the process; false if the caller handles signals
 * @throws StartError if no database can be opened or a migration fails
 */
export async function openDatabaseForCommand(
  settings: DatabaseSettings,
  log: DatabaseLog,
  role: string,
  { exitOnSignal = true }: { readonly exitOnSignal?: boolean } = {},
): Promise<CommandDatabase> {
  const database = await findDatabase(settings, log, role, exitOnSignal);
  try {
    const { applied } = await migrate(database.url);
    await withDedicatedConnection({ url: database.url, name: 'sessiongraph upkeep' }, ({ client }) =>
      ensureEventPartitions(client, new Date()),
    );
    return { ...database, applied };
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function findDatabase(settings: DatabaseSettings, log: DatabaseLog, role: string, exitOnSignal: boolean): Promise<FoundDatabase> {
  if (settings.url !== null) return openOutsideDatabase(settings.url, log);
  const folder = await prepareDataFolder(dataFolderPath(settings.dataFolder, settings.userDataHome));
  const deadline = performance.now() + OWNER_WAIT_MS;
  for (;;) {
    const last = await readFolderOwner(folder);
    if (last?.isAlive === true) {
      const url = last.owner.state === 'running' ? await readPublishedUrl(folder) : null;
      if (url !== null) return { url, description: describeEmbedded(folder), close: async () => undefined };
      if (performance.now() > deadline) throw new FolderTakenError(folder, last.owner);
      await delay(POLL_MS);
      continue;
    }
    try {
      const database = await openEmbeddedDatabase({ folder, role, poolSize: settings.poolSize, durable: true, log, drainWaitMs: 0 });
      return stopAfterOthers(database, log, exitOnSignal);
    } catch (error) {
      // Another process was faster. Its database serves as well.
      if (!(error instanceof FolderTakenError)) throw error;
    }
  }
}

/** Makes `close` wait for other commands that use the database. If a signal interrupts the command, Postgres stops too. */
function stopAfterOthers(database: OpenDatabase, log: DatabaseLog, exitOnSignal: boolean): FoundDatabase {
  const interrupted = () => void database.close().finally(() => process.exit(INTERRUPTED_EXIT));
  const signals: NodeJS.Signals[] = exitOnSignal ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : [];
  for (const signal of signals) process.once(signal, interrupted);
  return {
    url: database.url,
    description: database.description,
    async close() {
      await waitForOthers(database.url, log);
      await database.close();
      for (const signal of signals) process.off(signal, interrupted);
    },
  };
}

async function waitForOthers(url: string, log: DatabaseLog): Promise<void> {
  let logged = false;
  await withDedicatedConnection({ url, name: 'sessiongraph command' }, async connection => {
    for (;;) {
      const [row] = await connection.rows<{ others: number }>(Prisma.sql`
        select count(*)::int as others from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`);
      if (row?.others === 0) return;
      if (!logged) log.info('waiting for other commands to finish with the database');
      logged = true;
      await delay(POLL_MS);
    }
  }).catch(error => log.warn({ reason: reasonOf(error) }, 'lost the database before it was stopped'));
}
