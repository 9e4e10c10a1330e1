import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rename, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import { withDedicatedConnection } from '../postgres/dedicated-connection.ts';
import { type PostgresAccount, spawnIdentity } from './postgres-account.ts';
import { cannotRun, lastLines, type PostgresBinaries } from './postgres-binaries.ts';
import { clusterPath } from './postgres-cluster.ts';

/** How to start Postgres on a cluster. */
export interface PostgresLaunch {
  /** The data folder. */
  readonly folder: string;
  readonly binaries: PostgresBinaries;
  readonly account: PostgresAccount | null;
  /** As `name=value`. */
  readonly settings: readonly string[];
  /** The URL of a database that always exists. */
  urlOf(port: number): string;
  readonly log: Pick<Logger, 'info'>;
}

/** A Postgres that accepts connections. */
export interface PostgresProcess {
  readonly port: number;
  /** Resolves with the end of its log if it ends without `stop`. */
  readonly failed: Promise<string>;
  /** Ends every connection, then Postgres. Everything is then on disk. */
  stop(): Promise<void>;
}

const LOG_FILE = 'postgres.log';
const LOG_ROTATES_AT = 16 * 1024 * 1024;

/** SQLSTATE codes. */
const CANNOT_CONNECT_NOW = '57P03';
const INVALID_PASSWORD = '28P01';

const POLL_MS = 20;
/** The signals that stop Postgres, from gentle to hard, and how long to wait after each. */
const STOP_STEPS: readonly (readonly [NodeJS.Signals, number])[] = [
  ['SIGINT', 8_000],
  ['SIGQUIT', 3_000],
  ['SIGKILL', 3_000],
];
/** Recovery after a crash replays at most a few minutes of the write-ahead log. */
const READY_WITHIN_MS = 300_000;
const LONG_START_MS = 2_000;
const PORT_ATTEMPTS = 5;
const SHARED_MEMORY_ATTEMPTS = 100;
const SHARED_MEMORY_RETRY_MS = 100;

/**
 * Starts Postgres on a free loopback port and waits until it accepts connections.
 * @throws StartError with the end of its log if it does not start
 */
export async function launchPostgres(launch: PostgresLaunch): Promise<PostgresProcess> {
  let portsTaken = 0;
  let memoryInUse = 0;
  for (;;) {
    const launched = await launchOnPort(await findFreePort(), launch);
    if ('stop' in launched) return launched;
    if (/could not bind|could not create any TCP/i.test(launched.log) && portsTaken < PORT_ATTEMPTS) portsTaken += 1;
    else if (/shared memory block.*still in use/i.test(launched.log) && memoryInUse < SHARED_MEMORY_ATTEMPTS) {
      // Backends of a killed Postgres notice its death within moments.
      memoryInUse += 1;
      await delay(SHARED_MEMORY_RETRY_MS);
    } else throw new StartError(`Postgres did not start on ${clusterPath(launch.folder)}:\n${lastLines(launched.log)}`);
  }
}

/** Returns the log instead of a process if Postgres ended during its start. */
async function launchOnPort(port: number, launch: PostgresLaunch): Promise<PostgresProcess | { readonly log: string }> {
  const { folder, binaries, account, settings, urlOf } = launch;
  const logPath = join(folder, LOG_FILE);
  await rotateLog(logPath);
  const log = await open(logPath, 'a', 0o600);
  const { size: logStart } = await log.stat();
  const readLog = async () => (await readFile(logPath)).subarray(logStart).toString('utf8');
  let child: ChildProcess;
  try {
    child = spawn(binaries.postgres, ['-D', clusterPath(folder), '-p', String(port), ...settings.flatMap(setting => ['-c', setting])], {
      // A process group of its own: Ctrl-C in the terminal must not stop Postgres before the server has closed its connections.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      cwd: folder,
      ...spawnIdentity(account),
      windowsHide: true,
    });
    await once(child, 'spawn').catch(error => Promise.reject(cannotRun(binaries.postgres, error)));
  } finally {
    await log.close();
  }
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  // If this process exits without `stop`, it still stops Postgres, unless it is killed by SIGKILL.
  const stopAtExit = () => child.kill('SIGINT');
  process.once('exit', stopAtExit);
  let stopping = false;
  const stop = async () => {
    stopping = true;
    await stopChild(child, ended);
    process.off('exit', stopAtExit);
  };
  const failed = new Promise<string>(resolve => {
    void ended.then(async () => {
      process.off('exit', stopAtExit);
      if (!stopping) resolve(lastLines(await readLog().catch(() => '')));
    });
  });
  try {
    if (await waitUntilReady(urlOf(port), ended, launch.log)) return { port, failed, stop };
  } catch (error) {
    await stop();
    throw error;
  }
  return { log: await readLog() };
}

async function rotateLog(path: string): Promise<void> {
  const size = await stat(path).then(
    found => found.size,
    () => 0,
  );
  if (size > LOG_ROTATES_AT) await rename(path, `${path}.1`);
}

async function findFreePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new StartError('The system gave no free port on 127.0.0.1.');
  return address.port;
}

/** @returns true as soon as Postgres accepts connections, false if it ended instead */
async function waitUntilReady(url: string, ended: Promise<void>, log: Pick<Logger, 'info'>): Promise<boolean> {
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  const start = performance.now();
  let logged = false;
  while (!hasEnded) {
    try {
      await withDedicatedConnection({ url, name: 'sessiongraph set-up' }, async () => undefined);
      return true;
    } catch (error) {
      const code = errorCodeOf(error);
      if (code === INVALID_PASSWORD)
        throw new StartError('Postgres refuses the password in the data folder. Restore the password file from a backup.');
      const waited = performance.now() - start;
      if (code === CANNOT_CONNECT_NOW && waited > LONG_START_MS && !logged) {
        logged = true;
        log.info('Postgres is still starting: it recovers from a crash');
      }
      if (waited > READY_WITHIN_MS)
        throw new StartError(`Postgres accepts no connections after ${READY_WITHIN_MS / 60_000} minutes: ${reasonOf(error)}`);
    }
    await delay(POLL_MS);
  }
  return false;
}

async function stopChild(child: ChildProcess, ended: Promise<void>): Promise<void> {
  for (const [signal, milliseconds] of STOP_STEPS) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    const timer = new AbortController();
    await Promise.race([ended, delay(milliseconds, undefined, { signal: timer.signal, ref: false }).catch(() => undefined)]);
    timer.abort();
  }
}
