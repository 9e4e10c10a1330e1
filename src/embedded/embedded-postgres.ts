import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import { isRoot, makeReachable, writePrivateFile } from './data-folder.ts';
import { findPostgresBinaries, type PostgresBinaries, readablePostgresBinaries } from './embedded-postgres-binaries.ts';
import { findPostgresAccount, type PostgresAccount } from './postgres-account.ts';
import { commandLineOf, isRunning, isTaken, processesIn } from './process-identity.ts';

/** A running Postgres of ours. */
export interface EmbeddedPostgres {
  /** Of the database `sessiongraph`, with the password. */
  readonly url: string;
  /** Resolves with the reason when it ends without having been told to. */
  readonly failed: Promise<string>;
  /** Ends every connection and then Postgres, with everything on disk. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** The data folder, made and claimed by this process. */
  readonly folder: string;
  /** Connections the server will take. */
  readonly maxConnections: number;
  /** False gives up what survives a power cut, for tests. */
  readonly durable: boolean;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

const NAME = 'sessiongraph';
/** Names the folder of the cluster: a later major version cannot read it. */
const MAJOR_VERSION = 18;
const CLUSTER = `postgres-${MAJOR_VERSION}`;
const LOG_FILE = 'postgres.log';
const PASSWORD_FILE = 'password';

const CANNOT_CONNECT_NOW = '57P03';
const INVALID_PASSWORD = '28P01';

const MIB = 1024 * 1024;
const LOG_ROTATES_AT = 16 * MIB;
/** Below this, parallel queries may run out of shared memory files; containers have 64 MiB. */
const ENOUGH_SHM = 512 * MIB;

const POLL_MS = 20;
/** How long a Postgres that was told to stop may take before it is told again, harder. */
const FAST_STOP_MS = 8_000;
const ORPHAN_STOP_MS = 15_000;
const IMMEDIATE_STOP_MS = 3_000;
/** Recovery after a crash replays at most the log of a few minutes. */
const READY_WITHIN_MS = 300_000;
const LONG_START_MS = 2_000;
const PORT_ATTEMPTS = 5;
const LEFTOVER_ATTEMPTS = 100;

/**
 * Starts Postgres on the data folder, having made the cluster where there is none, and stopped the Postgres that a
 * killed server left behind. It listens on a free loopback port and wants the password of the folder.
 * @throws StartError where Postgres cannot run here
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { folder } = options;
  const cluster = join(folder, CLUSTER);
  await stopLeftPostgres(folder, options.log);
  const account = await accountFor(cluster);
  if (account !== null) await makeReachable(folder, account);
  const binaries = account === null ? findPostgresBinaries() : await readablePostgresBinaries(folder, account);
  const password = await makeCluster({ folder, cluster, binaries, account, durable: options.durable, log: options.log });
  const settings = serverSettings({
    maxConnections: options.maxConnections,
    durable: options.durable,
    memory: totalmem(),
    sharedMemory: await freeSharedMemory(),
  });
  const server = await launch({ ...options, cluster, binaries, account, settings, password });
  try {
    await ensureDatabase(urlOf(server.port, password, 'postgres'));
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { url: urlOf(server.port, password, NAME), failed: server.failed, stop: server.stop };
}

/** The settings of the server as `name=value`, sized for a machine that does other work too. */
export function serverSettings(machine: { maxConnections: number; durable: boolean; memory: number; sharedMemory: number }): string[] {
  const megabytes = (share: number, lowest: number, highest: number) =>
    `${Math.round(Math.min(Math.max((machine.memory * share) / MIB, lowest), highest))}MB`;
  return [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${machine.maxConnections}`,
    `shared_buffers=${megabytes(1 / 16, 64, 512)}`,
    `effective_cache_size=${megabytes(1 / 2, 256, 65_536)}`,
    `maintenance_work_mem=${megabytes(1 / 32, 64, 256)}`,
    'work_mem=16MB',
    'random_page_cost=1.1',
    'jit=off',
    'TimeZone=UTC',
    'log_timezone=UTC',
    'log_checkpoints=off',
    ...(machine.sharedMemory < ENOUGH_SHM ? ['dynamic_shared_memory_type=mmap'] : []),
    ...(machine.durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'wal_level=minimal', 'max_wal_senders=0']),
  ];
}

function urlOf(port: number, password: string, database: string): string {
  return `postgresql://${NAME}:${password}@127.0.0.1:${port}/${database}?sslmode=disable`;
}

async function freeSharedMemory(): Promise<number> {
  if (process.platform !== 'linux') return Number.POSITIVE_INFINITY;
  return statfs('/dev/shm').then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
}

/** Who runs Postgres, null for ourselves: a cluster stays with the user it was made by. */
async function accountFor(cluster: string): Promise<PostgresAccount | null> {
  const owner = await stat(cluster).catch(() => null);
  if (!isRoot()) {
    if (owner !== null && process.getuid !== undefined && owner.uid !== process.getuid()) {
      throw new StartError(
        `${cluster} belongs to another user (uid ${owner.uid}): start as that user, or name another folder in SESSIONGRAPH_DATA.`,
      );
    }
    return null;
  }
  if (owner !== null && owner.uid !== 0) return { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  return findPostgresAccount();
}

interface ClusterOptions {
  readonly folder: string;
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly account: PostgresAccount | null;
  readonly durable: boolean;
  readonly log: Pick<Logger, 'info'>;
}

/** Makes the cluster whole or not at all, and gives its password. */
async function makeCluster(options: ClusterOptions): Promise<string> {
  const { folder, cluster, account } = options;
  const known = await readPassword(folder);
  if ((await stat(cluster).catch(() => null)) !== null) {
    if (known !== null) return known;
    throw new StartError(
      `The file ${join(folder, PASSWORD_FILE)} is missing, without which the data in ${cluster} cannot be opened. Bring it back from a backup.`,
    );
  }
  const password = known ?? randomBytes(24).toString('base64url');
  if (known === null) await writePrivateFile(folder, PASSWORD_FILE, `${password}\n`);
  const draft = `${cluster}.new`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  const passwordFile = join(folder, `${PASSWORD_FILE}.initdb`);
  try {
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    if (account !== null) await Promise.all([draft, passwordFile].map(path => chown(path, account.uid, account.gid)));
    await initialise({ ...options, cluster: draft }, passwordFile);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, cluster);
  return password;
}

async function readPassword(folder: string): Promise<string | null> {
  try {
    return (await readFile(join(folder, PASSWORD_FILE), 'utf8')).trim();
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return null;
    throw new StartError(`The data folder ${folder} is another user's: ${reasonOf(error)}`);
  }
}

async function initialise({ cluster, binaries, account, durable, folder, log }: ClusterOptions, passwordFile: string): Promise<void> {
  // ICU compares and folds text; the C library's locale only has to know UTF-8, under the name this system has for it.
  const ctype = process.platform === 'win32' ? 'C' : process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8';
  const fixed = ['messages', 'monetary', 'numeric', 'time'].map(category => `--lc-${category}=C`);
  const child = spawn(
    binaries.initdb,
    [
      `--pgdata=${cluster}`,
      `--username=${NAME}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=icu',
      '--icu-locale=und',
      `--lc-ctype=${ctype}`,
      `--lc-collate=${ctype}`,
      ...fixed,
      ...(durable ? [] : ['--no-sync']),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder, ...identityOf(account), windowsHide: true },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text));
  const [code] = await once(child, 'close').catch(error => Promise.reject(cannotRun(binaries.initdb, error)));
  if (code !== 0) throw new StartError(`Postgres could not lay out its data in ${cluster}:\n${lastLines(output)}`);
  log.info({ folder }, 'made a new database cluster');
}

function identityOf(account: PostgresAccount | null): { uid: number; gid: number } | Record<never, never> {
  return account === null ? {} : { uid: account.uid, gid: account.gid };
}

function cannotRun(program: string, error: unknown): StartError {
  return new StartError(
    `The embedded Postgres does not run on this system (${program}: ${reasonOf(error)}). Name your own Postgres in DATABASE_URL.`,
  );
}

function lastLines(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-8)
    .map(line => `  ${line}`)
    .join('\n');
}

interface LaunchOptions extends EmbeddedPostgresOptions {
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly account: PostgresAccount | null;
  readonly settings: readonly string[];
  readonly password: string;
}

interface Launched {
  readonly port: number;
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

async function launch(options: LaunchOptions): Promise<Launched> {
  let taken = 0;
  let leftovers = 0;
  for (;;) {
    const launched = await launchOn(await freePort(), options);
    if ('stop' in launched) return launched;
    if (/could not bind|could not create any TCP/i.test(launched.log) && taken < PORT_ATTEMPTS) taken += 1;
    else if (/shared memory block.*still in use/i.test(launched.log) && leftovers < LEFTOVER_ATTEMPTS) {
      // Children of a killed Postgres notice its death within moments.
      leftovers += 1;
      await delay(POLL_MS * 5);
    } else throw new StartError(`Postgres did not start on ${options.cluster}:\n${lastLines(launched.log)}`);
  }
}

async function launchOn(port: number, options: LaunchOptions): Promise<Launched | { log: string }> {
  const { folder, cluster, binaries, account, settings } = options;
  const logPath = join(folder, LOG_FILE);
  await rotate(logPath);
  const log = await open(logPath, 'a', 0o600);
  const { size: logStart } = await log.stat();
  const readLog = async () => (await readFile(logPath)).subarray(logStart).toString('utf8');
  let child: ChildProcess;
  try {
    child = spawn(binaries.postgres, ['-D', cluster, '-p', String(port), ...settings.flatMap(setting => ['-c', setting])], {
      // A group of its own: Ctrl-C in the terminal must not reach Postgres before the server has finished with it.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      cwd: folder,
      ...identityOf(account),
      windowsHide: true,
    });
    await once(child, 'spawn').catch(error => Promise.reject(cannotRun(binaries.postgres, error)));
  } finally {
    await log.close();
  }
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  // Whatever ends this process short of SIGKILL takes Postgres along.
  const stopWithUs = () => child.kill('SIGINT');
  process.once('exit', stopWithUs);
  let stopping = false;
  const stop = async () => {
    stopping = true;
    await stopChild(child, ended);
    process.off('exit', stopWithUs);
  };
  const failed = new Promise<string>(resolve => {
    void ended.then(async () => {
      process.off('exit', stopWithUs);
      if (!stopping) resolve(lastLines(await readLog().catch(() => '')));
    });
  });
  try {
    if (await isReady(urlOf(port, options.password, 'postgres'), ended, options.log)) return { port, failed, stop };
  } catch (error) {
    await stop();
    throw error;
  }
  return { log: await readLog() };
}

async function rotate(path: string): Promise<void> {
  const size = await stat(path).then(
    found => found.size,
    () => 0,
  );
  if (size > LOG_ROTATES_AT) await rename(path, `${path}.1`);
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new StartError('The system gave no free port on 127.0.0.1.');
  return address.port;
}

/** True once it takes connections, false where it ended instead. */
async function isReady(url: string, ended: Promise<void>, log: Pick<Logger, 'info'>): Promise<boolean> {
  let gone = false;
  void ended.then(() => {
    gone = true;
  });
  const start = performance.now();
  let told = false;
  while (!gone) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    // A connection that breaks while it is made reports twice.
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return true;
    } catch (error) {
      await client.end().catch(() => undefined);
      const code = errorCodeOf(error);
      if (code === INVALID_PASSWORD)
        throw new StartError('The password file of the data folder does not fit the data in it. Bring the right one back from a backup.');
      const waited = performance.now() - start;
      if (code === CANNOT_CONNECT_NOW && waited > LONG_START_MS && !told) {
        told = true;
        log.info('Postgres is still starting: it recovers what a crash left');
      }
      if (waited > READY_WITHIN_MS)
        throw new StartError(`Postgres takes no connections after ${READY_WITHIN_MS / 60_000} minutes: ${reasonOf(error)}`);
    }
    await delay(POLL_MS);
  }
  return false;
}

async function stopChild(child: ChildProcess, ended: Promise<void>): Promise<void> {
  const within = async (signal: NodeJS.Signals, milliseconds: number) => {
    if (child.exitCode !== null || child.signalCode !== null) return true;
    child.kill(signal);
    const timer = new AbortController();
    const done = await Promise.race([
      ended.then(() => true),
      delay(milliseconds, false, { signal: timer.signal, ref: false }).catch(() => false),
    ]);
    timer.abort();
    return done;
  };
  if (await within('SIGINT', FAST_STOP_MS)) return;
  if (await within('SIGQUIT', IMMEDIATE_STOP_MS)) return;
  await within('SIGKILL', IMMEDIATE_STOP_MS);
}

/**
 * Stops the Postgres that a killed process left running on a data folder, and clears a pid file that would keep the next
 * one from starting. The folder must be claimed, or its owner known to be dead.
 * @throws StartError where it cannot be stopped
 */
export async function stopLeftPostgres(folder: string, log: Pick<Logger, 'warn'>): Promise<void> {
  const cluster = join(folder, CLUSTER);
  const pidFile = join(cluster, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (isRunning(pid)) {
    const commandLine = commandLineOf(pid);
    // Where the system does not show it, Postgres decides, to the safe side.
    if (commandLine.length === 0) return;
    if (isPostmasterOf(commandLine, cluster)) {
      log.warn({ pid }, 'stopping the Postgres that an earlier server left behind');
      await stopProcess(pid, cluster);
    }
  }
  await stopLeftBackends(cluster);
  // What has the number now is another program, after a restart of the machine, or a dead process nobody has reaped:
  // Postgres would take either for a running server. That no process has it Postgres sees by itself.
  if (isTaken(pid)) await rm(pidFile, { force: true });
}

async function stopProcess(pid: number, cluster: string): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [
    ['SIGINT', ORPHAN_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
    ['SIGKILL', IMMEDIATE_STOP_MS],
  ];
  for (const [signal, milliseconds] of steps) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (errorCodeOf(error) === 'ESRCH') return;
      throw new StartError(`An earlier Postgres (process ${pid}) still runs on ${cluster} and cannot be stopped: ${reasonOf(error)}`);
    }
    if (await comesTrue(() => !isRunning(pid), milliseconds)) return;
  }
  throw new StartError(`An earlier Postgres (process ${pid}) still runs on ${cluster} and does not stop.`);
}

/**
 * Backends notice the death of their Postgres within moments, unless they are busy. They must be gone before the pid file
 * is: it is what keeps a new Postgres from meeting them.
 */
async function stopLeftBackends(cluster: string): Promise<void> {
  const left = () => processesIn(cluster).filter(pid => commandLineOf(pid)[0]?.startsWith('postgres:') === true);
  if (await comesTrue(() => left().length === 0, IMMEDIATE_STOP_MS)) return;
  for (const pid of left()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errorCodeOf(error) !== 'ESRCH') throw error;
    }
  }
  if (await comesTrue(() => left().length === 0, IMMEDIATE_STOP_MS)) return;
  throw new StartError(`Processes of an earlier Postgres (${left().join(', ')}) still run on ${cluster} and do not stop.`);
}

async function comesTrue(condition: () => boolean, milliseconds: number): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** Whether these words, which the system may have split at spaces, started the Postgres of this cluster. */
export function isPostmasterOf(commandLine: readonly string[], cluster: string): boolean {
  return `${commandLine.join(' ')} `.includes(`postgres -D ${cluster} `);
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [NAME]);
    if (rowCount === 0) await client.query(`create database ${NAME}`);
  } finally {
    await client.end();
  }
}
