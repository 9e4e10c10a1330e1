import { fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** A server in a process of its own, so that its CPU time is its own. */
export interface ChildServer {
  /** On 127.0.0.1. */
  readonly port: number;
  /** CPU time it has used since it began, in milliseconds. */
  cpuMs(): Promise<number>;
  /** What it holds right after a collection of garbage, in bytes. */
  memory(): Promise<{ readonly heap: number; readonly resident: number }>;
  /** Resolves once the process is gone. */
  close(): Promise<void>;
}

/** What a child's server is to be. */
export interface ServerSettings {
  readonly databaseUrl: string;
  readonly poolSize: number;
}

/** A server as the child makes it. */
interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

const request = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), databaseUrl: z.string(), poolSize: z.number() }),
  z.object({ type: z.literal('cpu') }),
  z.object({ type: z.literal('memory') }),
]);
const reply = z.discriminatedUnion('type', [
  z.object({ type: z.literal('listening'), port: z.number() }),
  z.object({ type: z.literal('cpu'), ms: z.number() }),
  z.object({ type: z.literal('memory'), heap: z.number(), resident: z.number() }),
  z.object({ type: z.literal('failed'), reason: z.string() }),
]);
type Request = z.infer<typeof request>;
type Reply = z.infer<typeof reply>;

const START_WAITS_MS = 30_000;

/**
 * Starts a script beside this file that calls `serveParent`.
 * @param name of the script, without extension: the same as source and as compiled
 */
export async function startChildServer(name: string, settings: ServerSettings): Promise<ChildServer> {
  const extension = extname(import.meta.url);
  const script = fileURLToPath(new URL(`./${name}${extension}`, import.meta.url));
  // Tests run the sources, which Node does not take as they are.
  const child = fork(script, { serialization: 'json', execArgv: ['--expose-gc', ...(extension === '.ts' ? ['--import', 'tsx'] : [])] });
  const exited = once(child, 'exit');
  const ask = async (message: Request): Promise<Reply> => {
    const answer = once(child, 'message', { signal: AbortSignal.timeout(START_WAITS_MS) });
    child.send(message);
    const [raw] = await Promise.race([answer, exited.then(([code]) => [{ type: 'failed', reason: `it ended with exit code ${code}` }])]);
    return reply.parse(raw);
  };
  const close = async () => {
    // The child ends when the channel does.
    if (child.connected) child.disconnect();
    await exited;
  };

  const first = await ask({ type: 'start', ...settings });
  if (first.type !== 'listening') {
    await close();
    throw new Error(`The server ${name} did not start: ${first.type === 'failed' ? first.reason : 'it answered out of turn'}.`);
  }
  return {
    port: first.port,
    async cpuMs() {
      const answer = await ask({ type: 'cpu' });
      if (answer.type !== 'cpu') throw new Error(`The server ${name} is gone.`);
      return answer.ms;
    },
    async memory() {
      const answer = await ask({ type: 'memory' });
      if (answer.type !== 'memory') throw new Error(`The server ${name} is gone.`);
      return answer;
    },
    close,
  };
}

/** The child's side: makes the server when told to, says its port and CPU time, and ends when the parent does. */
export function serveParent(start: (settings: ServerSettings) => Promise<RunningServer>): void {
  let server: RunningServer | null = null;
  const answer = (message: Reply) => process.send?.(message);
  process.on('message', async raw => {
    try {
      const message = request.parse(raw);
      if (message.type === 'start') {
        server = await start(message);
        answer({ type: 'listening', port: server.port });
      } else if (message.type === 'memory') {
        globalThis.gc?.();
        const { heapUsed, rss } = process.memoryUsage();
        answer({ type: 'memory', heap: heapUsed, resident: rss });
      } else {
        const { user, system } = process.cpuUsage();
        answer({ type: 'cpu', ms: (user + system) / 1_000 });
      }
    } catch (error) {
      answer({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on('disconnect', () => void Promise.resolve(server?.close()).finally(() => process.exit()));
}
