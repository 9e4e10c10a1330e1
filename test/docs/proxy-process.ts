import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TEST_WAIT_MS } from '../support/wait-time.ts';

const FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** A running nginx or PgBouncer with a folder for its files. */
export interface ProxyProcess {
  readonly port: number;
  /** Everything it has printed. */
  output(): string;
  stop(): Promise<void>;
}

/** Returns the path of an installed program, or null. If it is missing, prints which tests are left out. */
export function findProgram(name: string): string | null {
  const path = FOLDERS.map(folder => join(folder, name)).find(existsSync) ?? null;
  if (path === null)
    process.stderr.write(`test/docs leaves out what needs ${name}: it is not installed (Debian: apt-get install ${name}).\n`);
  return path;
}

/** Replaces a text that the file must contain. @throws Error if it does not */
export function substitute(text: string, search: string, replacement: string): string {
  if (!text.includes(search)) throw new Error(`The recipe does not contain "${search}".`);
  return text.replaceAll(search, replacement);
}

/** Returns a port on which nothing listens. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return address.port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

interface ProxyOptions {
  readonly program: string;
  /** Returns the arguments, given the folder that holds `files`. */
  readonly args: (folder: string) => readonly string[];
  /** Content by name; `FOLDER` in it is replaced with the path of the folder. */
  readonly files: Readonly<Record<string, string>>;
  readonly port: number;
}

/** Starts a program in the foreground and waits until it accepts connections. @throws Error with its output if it ends first */
export async function startProxy({ program, args, files, port }: ProxyOptions): Promise<ProxyProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'sessiongraph-proxy-'));
  // As root, both programs read their files as another user.
  await chmod(folder, 0o755);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text.replaceAll('FOLDER', folder));
  const child: ChildProcess = spawn(program, args(folder), { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  async function stop(): Promise<void> {
    child.kill('SIGTERM');
    await exited;
    await rm(folder, { recursive: true, force: true });
  }
  const deadline = performance.now() + TEST_WAIT_MS;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop();
      throw new Error(`${program} did not start:\n${output}`);
    }
    await delay(20);
  }
  return { port, output: () => output, stop };
}
