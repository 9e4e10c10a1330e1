import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { reasonOf, StartError } from '../errors.ts';
import { ensureEventPartitions } from '../events/partitions.ts';
import { parseConnectionUrl } from '../postgres/connection-url.ts';
import { migrate } from '../postgres/migrations.ts';
import { dataFolderPath, prepareDataFolder, writePrivateFile } from './data-folder.ts';
import { claimFolder, type FolderClaim, FolderTakenError, readFolderOwner } from './data-folder-owner.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres, stopLeftPostgres } from './embedded-postgres.ts';

/** What of the configuration decides where the database is. */
export type DatabaseSettings = Config['database'];

type DatabaseLog = Pick<Logger, 'debug' | 'info' | 'warn'>;

/** A database that takes connections. */
export interface OpenDatabase {
  /** With the credentials. */
  readonly url: string;
  /** For people, without the credentials. */
  readonly description: string;
  /** Resolves with the reason when the embedded Postgres ends without having been told to; never for an outside one. */
  readonly failed: Promise<string>;
  /** Says that the end has begun: a server that starts on the same data folder then waits for it. */
  drain(): Promise<void>;
  /** Stops what was started here; nothing for an outside Postgres. */
  close(): Promise<void>;
}

/** A database for a command, with every migration applied. */
export interface CommandDatabase {
  /** With the credentials. */
  readonly url: string;
  /** For people, without the credentials. */
  readonly description: string;
  /** Names of the migrations that this command has applied. */
  readonly applied: readonly string[];
  /**
   * Stops Postgres where the command had to start it, once no other command uses it any more.
   * The command's own connections must be closed before: they would be waited for.
   */
  close(): Promise<void>;
}

const OLDEST_VERSION = 15;
/** Connections besides the pool: sequencer, listener, upkeep, commands and people. */
const MORE_CONNECTIONS = 80;
const URL_FILE = 'database-url';
const POLL_MS = 100;
const COMMAND_WAITS_MS = 30_000;
const SCRATCH_PREFIX = 'sessiongraph-scratch-';

const quiet: DatabaseLog = { debug: () => undefined, info: () => undefined, warn: () => undefined };

/**
 * Opens the database of a server: the configured one, else the embedded Postgres, whose data folder is then ours.
 * @param signal ends the waiting for a server that is draining
 * @throws StartError where there is none to be had, FolderTakenError where another server has the folder
 */
export async function openDatabase(settings: DatabaseSettings, log: DatabaseLog, signal?: AbortSignal): Promise<OpenDatabase> {
  if (settings.url !== null) return openOutside(settings.url, log);
  const folder = await prepareDataFolder(dataFolderPath(settings.dataFolder, settings.userDataHome));
  return openFolder({ folder, role: 'server', poolSize: settings.poolSize, durable: true, log, signal });
}

/**
 * Opens the database for a command: the configured one, else that of the server or command running on the data folder,
 * else the embedded Postgres for as long as the command takes. Applies the migrations it lacks.
 * @param role the name of the command, for others that meet it
 * @param options.exitOnSignal by default a signal stops the embedded Postgres and ends the process; false if the caller handles signals
 */
export async function openDatabaseForCommand(
  settings: DatabaseSettings,
  log: DatabaseLog,
  role: string,
  { exitOnSignal = true }: { readonly exitOnSignal?: boolean } = {},
): Promise<CommandDatabase> {
  const database = await findForCommand(settings, log, role, exitOnSignal);
  try {
    const { applied } = await migrate(database.url);
    await withClient(database.url, client => ensureEventPartitions(client, new Date()));
    return { ...database, applied };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/**
 * Starts a Postgres of its own in a new temporary folder, for tests: fast, and gone with everything in it when closed.
 * The URL is that of a superuser.
 */
export async function startScratchPostgres(): Promise<{ readonly url: string; close(): Promise<void> }> {
  await removeAbandonedScratch();
  const folder = await prepareDataFolder(await mkdtemp(join(tmpdir(), SCRATCH_PREFIX)));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const database = await openFolder({ folder, role: 'test', poolSize: 200, durable: false, log: quiet });
    return {
      url: database.url,
      async close() {
        await database.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** What test runs that were killed left behind. */
async function removeAbandonedScratch(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(SCRATCH_PREFIX)) continue;
    const folder = join(tmpdir(), name);
    try {
      const last = await readFolderOwner(folder);
      // A folder without any owner is about to be claimed.
      if (last === null || last.lives) continue;
      await stopLeftPostgres(folder, quiet);
      await rm(folder, { recursive: true, force: true });
    } catch {
      // Another user's, or another run is removing it too.
    }
  }
}

const never = new Promise<string>(() => undefined);

async function openOutside(url: string, log: DatabaseLog): Promise<OpenDatabase> {
  const { description } = parseConnectionUrl(url);
  await checkOutside(url, description, log);
  return { url, description: `Postgres at ${description}`, failed: never, drain: async () => undefined, close: async () => undefined };
}

interface ServerFacts {
  readonly version: number;
  readonly encoding: string;
  readonly ctype: string;
}

async function checkOutside(url: string, description: string, log: DatabaseLog): Promise<void> {
  const { version, encoding, ctype } = await readFacts(url, description);
  const major = Math.floor(version / 10_000);
  if (major < OLDEST_VERSION)
    throw new StartError(`The database ${description} is Postgres ${major}; Sessiongraph needs ${OLDEST_VERSION} or newer.`);
  if (encoding !== 'UTF8') {
    throw new StartError(
      `The database ${description} is encoded as ${encoding}; Sessiongraph needs UTF8. Make one that is:\n` +
        '  createdb --encoding=UTF8 --template=template0 sessiongraph',
    );
  }
  if (['C', 'POSIX'].includes(ctype)) {
    log.warn(`the database ${description} has LC_CTYPE ${ctype}: search by words finds letters outside ASCII only as they are written`);
  }
}

async function readFacts(url: string, description: string): Promise<ServerFacts> {
  try {
    return await withClient(url, async client => {
      const { rows } = await client.query<ServerFacts>(
        `select current_setting('server_version_num')::int as version, pg_encoding_to_char(encoding) as encoding, datctype as ctype
         from pg_database where datname = current_database()`,
      );
      const [facts] = rows;
      if (facts === undefined) throw new Error('it does not know itself');
      return facts;
    });
  } catch (error) {
    throw new StartError(`The database ${description}, named in DATABASE_URL, cannot be used: ${reasonOf(error)}`);
  }
}

async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const { connectionString } = parseConnectionUrl(url);
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000, application_name: 'sessiongraph' });
  // A connection that breaks fails the statement on it as well.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

interface FolderOptions {
  readonly folder: string;
  readonly role: string;
  readonly poolSize: number;
  readonly durable: boolean;
  readonly log: DatabaseLog;
  readonly drainWaitMs?: number;
  readonly signal?: AbortSignal;
}

async function openFolder(options: FolderOptions): Promise<OpenDatabase> {
  const { folder, role, poolSize, durable, log } = options;
  const claim = await claimFolder(folder, { role, drainWaitMs: options.drainWaitMs, signal: options.signal });
  try {
    const postgres = await startEmbeddedPostgres({ folder, maxConnections: poolSize + MORE_CONNECTIONS, durable, log });
    await writePrivateFile(folder, URL_FILE, `${postgres.url}\n`);
    await claim.announce('running');
    return createFolderDatabase(folder, claim, postgres);
  } catch (error) {
    await claim.release();
    throw error;
  }
}

function createFolderDatabase(folder: string, claim: FolderClaim, postgres: EmbeddedPostgres): OpenDatabase {
  let closed: Promise<void> | null = null;
  const close = async () => {
    await claim.announce('draining');
    await rm(join(folder, URL_FILE), { force: true });
    await postgres.stop();
    await claim.release();
  };
  return {
    url: postgres.url,
    description: `embedded Postgres in ${folder}`,
    failed: postgres.failed,
    drain: () => claim.announce('draining'),
    close() {
      closed ??= close();
      return closed;
    },
  };
}

/** Before its migrations are applied. */
type FoundDatabase = Omit<CommandDatabase, 'applied'>;

async function findForCommand(settings: DatabaseSettings, log: DatabaseLog, role: string, exitOnSignal: boolean): Promise<FoundDatabase> {
  if (settings.url !== null) return openOutside(settings.url, log);
  const folder = await prepareDataFolder(dataFolderPath(settings.dataFolder, settings.userDataHome));
  const deadline = performance.now() + COMMAND_WAITS_MS;
  for (;;) {
    const last = await readFolderOwner(folder);
    if (last?.lives === true) {
      const url = last.owner.state === 'running' ? await readFile(join(folder, URL_FILE), 'utf8').catch(() => null) : null;
      if (url !== null) return { url: url.trim(), description: `embedded Postgres in ${folder}`, close: async () => undefined };
      if (performance.now() > deadline) throw new FolderTakenError(folder, last.owner);
      await delay(POLL_MS);
      continue;
    }
    try {
      const database = await openFolder({ folder, role, poolSize: settings.poolSize, durable: true, log, drainWaitMs: 0 });
      return stopAfterOthers(database, log, exitOnSignal);
    } catch (error) {
      // Somebody was faster: that one's database serves as well.
      if (!(error instanceof FolderTakenError)) throw error;
    }
  }
}

const INTERRUPTED_EXIT = 130;

/** Other commands may have come to use the Postgres that this one started; it also goes when this one is interrupted. */
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
  let told = false;
  await withClient(url, async client => {
    for (;;) {
      const { rows } = await client.query<{ others: number }>(
        "select count(*)::int as others from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
      );
      if (rows[0]?.others === 0) return;
      if (!told) log.info('waiting for other commands to finish with the database');
      told = true;
      await delay(POLL_MS);
    }
  }).catch(error => log.warn({ reason: reasonOf(error) }, 'the database went away before it was stopped'));
}
