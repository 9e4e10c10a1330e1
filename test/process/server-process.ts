import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A server started as `npm start` does, in a separate process. */
export interface ServerProcess {
  readonly pid: number;
  /** Resolves with the URL of the GraphQL endpoint once the server is ready. Rejects if the process ends before. */
  ready(): Promise<string>;
  /** Resolves with the exit code; null if a signal ended the process. */
  ended(): Promise<number | null>;
  /** Everything the process has written to stdout and stderr. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
}

const runningServers = new Set<ServerProcess>();

/** Which program to run; by default the sources of this clone. */
export interface ServerProgram {
  readonly folder: string;
  /** Arguments of node. */
  readonly words: readonly string[];
}

const SOURCES: ServerProgram = { folder: ROOT, words: ['--import', 'tsx', 'src/main.ts'] };

/** Starts a server. Its configuration comes only from these environment variables. */
export function startServer(variables: Record<string, string>, { folder, words }: ServerProgram = SOURCES): ServerProcess {
  const child = spawn(process.execPath, words, {
    cwd: folder,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', PORT: '0', LOG_LEVEL: 'warn', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  const isReady = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text;
        const url = /GraphQL\s+(http:\S+)/.exec(output)?.[1];
        if (url !== undefined && output.includes('Ctrl-C')) resolve(url);
      });
    }
    void exitCode.then(code => reject(new Error(`The server ended with exit code ${code}:\n${output}`)));
  });
  isReady.catch(() => undefined);
  const server: ServerProcess = {
    pid: child.pid ?? 0,
    ready: () => isReady,
    ended: () => exitCode,
    output: () => output,
    kill: signal => child.kill(signal),
  };
  runningServers.add(server);
  void exitCode.then(() => runningServers.delete(server));
  return server;
}

/** Stops all servers that are still running, for example after a failed test. */
export async function stopServers(): Promise<void> {
  for (const server of runningServers) {
    server.kill('SIGTERM');
    await server.ended();
  }
}

/** Sends `{ __typename }` and returns the response body. */
export async function queryTypename(url: string): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: '{ __typename }' }),
  });
  return response.json();
}

/** Reads the process id of the Postgres that runs on a data folder; null if there is no pid file. */
export async function postgresPid(folder: string): Promise<number | null> {
  const text = await readFile(join(folder, 'postgres-18', 'postmaster.pid'), 'utf8').catch(() => null);
  return text === null ? null : Number.parseInt(text, 10);
}
