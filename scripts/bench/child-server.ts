import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** A server in a separate process, whose CPU time and memory can be measured. */
export interface ChildServer {
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** CPU time since the process started, in milliseconds. */
  cpuMs(): Promise<number>;
  /** Memory in use right after a garbage collection, in bytes. */
  memory(): Promise<{ readonly heap: number; readonly resident: number }>;
  /** Memory of the process now, in bytes, without a garbage collection: what an operator sees. */
  residentBytes(): Promise<number>;
  /** Resolves when the process has exited. */
  close(): Promise<void>;
}

/** Settings of the server in the child process. */
export interface ServerSettings {
  readonly databaseUrl: string;
  readonly poolSize: number;
}

/** The server inside the child process. */
interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

const requestSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), databaseUrl: z.string(), poolSize: z.number() }),
  z.object({ type: z.literal('cpu') }),
  z.object({ type: z.literal('memory') }),
  z.object({ type: z.literal('resident') }),
]);
const replySchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('listening'), port: z.number() }),
  z.object({ type: z.literal('cpu'), ms: z.number() }),
  z.object({ type: z.literal('resident'), bytes: z.number() }),
  z.object({ type: z.literal('memory'), heap: z.number(), resident: z.number() }),
  z.object({ type: z.literal('failed'), reason: z.string() }),
]);
type Request = z.infer<typeof requestSchema>;
type Reply = z.infer<typeof replySchema>;

const REPLY_TIMEOUT_MS = 30_000;

/**
 * Starts a script of this folder that calls `serveParent`.
 * @param name of the script without extension, which differs between source and build
 * @throws Error if the server does not start
 */
export async function startChildServer(name: string, settings: ServerSettings): Promise<ChildServer> {
  const extension = extname(import.meta.url);
  const script = fileURLToPath(new URL(`./${name}${extension}`, import.meta.url));
  const logFolder = mkdtempSync(join(tmpdir(), 'sessiongraph-bench-'));
  const log = openSync(join(logFolder, 'server.log'), 'w');
  const child = fork(script, {
    serialization: 'json',
    stdio: ['ignore', 'inherit', log, 'ipc'],
    // Tests run the TypeScript sources, for which Node needs tsx.
    execArgv: ['--expose-gc', ...(extension === '.ts' ? ['--import', 'tsx'] : [])],
  });
  const exited = once(child, 'exit');
  const request = async (message: Request): Promise<Reply> => {
    const received = once(child, 'message', { signal: AbortSignal.timeout(REPLY_TIMEOUT_MS) });
    child.send(message);
    const [raw] = await Promise.race([received, exited.then(([code]) => [{ type: 'failed', reason: `it exited with code ${code}` }])]);
    return replySchema.parse(raw);
  };
  const close = async () => {
    // The child exits when its channel to the parent closes.
    if (child.connected) child.disconnect();
    await exited;
    closeSync(log);
    rmSync(logFolder, { recursive: true });
  };

  const first = await request({ type: 'start', ...settings });
  if (first.type !== 'listening') {
    await close();
    throw new Error(`The server ${name} did not start: ${first.type === 'failed' ? first.reason : 'unexpected reply'}.`);
  }
  return {
    port: first.port,
    async cpuMs() {
      const reply = await request({ type: 'cpu' });
      if (reply.type !== 'cpu') throw new Error(`The server ${name} has exited.`);
      return reply.ms;
    },
    async memory() {
      const reply = await request({ type: 'memory' });
      if (reply.type !== 'memory') throw new Error(`The server ${name} has exited.`);
      return reply;
    },
    async residentBytes() {
      const reply = await request({ type: 'resident' });
      if (reply.type !== 'resident') throw new Error(`The server ${name} has exited.`);
      return reply.bytes;
    },
    close,
  };
}

/** Runs in the child process: starts the server at the parent's request, answers its other requests, and exits with the parent. */
export function serveParent(start: (settings: ServerSettings) => Promise<RunningServer>): void {
  let server: RunningServer | null = null;
  const reply = (message: Reply) => process.send?.(message);
  process.on('message', async raw => {
    try {
      const message = requestSchema.parse(raw);
      if (message.type === 'start') {
        server = await start(message);
        reply({ type: 'listening', port: server.port });
      } else if (message.type === 'resident') {
        reply({ type: 'resident', bytes: process.memoryUsage().rss });
      } else if (message.type === 'memory') {
        globalThis.gc?.();
        const { heapUsed, rss } = process.memoryUsage();
        reply({ type: 'memory', heap: heapUsed, resident: rss });
      } else {
        const { user, system } = process.cpuUsage();
        reply({ type: 'cpu', ms: (user + system) / 1_000 });
      }
    } catch (error) {
      reply({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on('disconnect', () => void Promise.resolve(server?.close()).finally(() => process.exit()));
}
