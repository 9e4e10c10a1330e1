import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import { clusterPath } from './postgres-cluster.ts';
import { commandLineOf, isRunning, isTaken, processesIn } from './process-identity.ts';

const POLL_MS = 20;

/** The signals that stop Postgres, from gentle to hard, and how long to wait after each. */
const STOP_STEPS: readonly (readonly [NodeJS.Signals, number])[] = [
  ['SIGINT', 15_000],
  ['SIGQUIT', 3_000],
  ['SIGKILL', 3_000],
];
const BACKENDS_STOP_MS = 3_000;

/**
 * Stops the Postgres that a killed process left running on a data folder, and removes a pid file that would keep the next Postgres from
 * starting. The caller has claimed the folder, or knows that its owner is dead.
 * @throws StartError if that Postgres cannot be stopped
 */
export async function stopOrphanedPostgres(folder: string, log: Pick<Logger, 'warn'>): Promise<void> {
  const cluster = clusterPath(folder);
  const pidFile = join(cluster, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (isRunning(pid)) {
    const commandLine = commandLineOf(pid);
    // The system does not show what the process is. Keep the pid file: if the process is alive, the next Postgres refuses to start.
    if (commandLine.length === 0) return;
    if (isPostmasterOf(commandLine, cluster)) {
      log.warn({ pid }, 'stopping the Postgres that an earlier server left behind');
      await stopPostmaster(pid, cluster);
    }
  }
  await stopBackends(cluster);
  // The number now belongs to another program, after a restart of the machine, or to a dead process that its parent has not reaped.
  // Postgres would take either for a running server. If no process has the number, Postgres ignores the file by itself.
  if (isTaken(pid)) await rm(pidFile, { force: true });
}

/** Whether this command line, which the system may have split at spaces, started the Postgres of this cluster. */
export function isPostmasterOf(commandLine: readonly string[], cluster: string): boolean {
  return `${commandLine.join(' ')} `.includes(`postgres -D ${cluster} `);
}

async function stopPostmaster(pid: number, cluster: string): Promise<void> {
  for (const [signal, milliseconds] of STOP_STEPS) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (errorCodeOf(error) === 'ESRCH') return;
      throw new StartError(`An earlier Postgres (process ${pid}) still runs on ${cluster} and cannot be stopped: ${reasonOf(error)}`);
    }
    if (await becomesTrue(() => !isRunning(pid), milliseconds)) return;
  }
  throw new StartError(`An earlier Postgres (process ${pid}) still runs on ${cluster} and does not stop.`);
}

/**
 * Stops the backends of a Postgres that is gone. Unless they are busy, they notice its death themselves within moments. They must be gone
 * before the pid file is, because only that file keeps a new Postgres from starting beside them.
 */
async function stopBackends(cluster: string): Promise<void> {
  const remaining = () => processesIn(cluster).filter(pid => commandLineOf(pid)[0]?.startsWith('postgres:') === true);
  if (await becomesTrue(() => remaining().length === 0, BACKENDS_STOP_MS)) return;
  for (const pid of remaining()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errorCodeOf(error) !== 'ESRCH') throw error;
    }
  }
  if (await becomesTrue(() => remaining().length === 0, BACKENDS_STOP_MS)) return;
  throw new StartError(`Processes of an earlier Postgres (${remaining().join(', ')}) still run on ${cluster} and do not stop.`);
}

async function becomesTrue(condition: () => boolean, milliseconds: number): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}
