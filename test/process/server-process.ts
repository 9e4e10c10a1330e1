import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TEST_WAIT_MS } from '../support/wait-time.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A server in a process of its own, as `npm start` runs it. */
export interface ServerProcess {
  readonly pid: number;
  /** Resolves with the address of GraphQL once it is ready. @throws where it ends before */
  ready(): Promise<string>;
  /** Resolves with the exit code, null after a signal. */
  ended(): Promise<number | null>;
  /** Everything it has printed, on both outputs. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
}

const started = new Set<ServerProcess>();

/** Starts a server with these environment variables and no others that it reads. */
export function startServer(variables: Record<string, string>): ServerProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts'], {
    cwd: ROOT,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', PORT: '0', LOG_LEVEL: 'warn', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const end = once(child, 'close').then(([code]) => code as number | null);
  const isReady = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text;
        const url = /GraphQL\s+(http:\S+)/.exec(output)?.[1];
        if (url !== undefined && output.includes('Ctrl-C')) resolve(url);
      });
    }
    void end.then(code => reject(new Error(`the server ended with ${code}:\n${output}`)));
  });
  isReady.catch(() => undefined);
  const server: ServerProcess = {
    pid: child.pid ?? 0,
    ready: () => isReady,
    ended: () => end,
    output: () => output,
    kill: signal => child.kill(signal),
  };
  started.add(server);
  void end.then(() => started.delete(server));
  return server;
}

/** Ends what a failed test left running. */
export async function stopServers(): Promise<void> {
  for (const server of started) {
    server.kill('SIGTERM');
    await server.ended();
  }
}

/** The answer of a server to the smallest query. */
export async function askTypename(url: string): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: '{ __typename }' }),
  });
  return response.json();
}

/** The process number of the Postgres on a data folder, null where none is said to run. */
export async function postgresPid(folder: string): Promise<number | null> {
  const text = await readFile(join(folder, 'postgres-18', 'postmaster.pid'), 'utf8').catch(() => null);
  return text === null ? null : Number.parseInt(text, 10);
}

/** Resolves when the condition holds. @throws where it does not come to hold */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + TEST_WAIT_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`it did not come about: ${condition}`);
    await delay(10);
  }
}
