import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { TEST_WAIT_MS } from '../support/wait-time.ts';

const PROGRAM = '/usr/bin/redis-server';

/** A real Redis without persistence, which a test can stop and start. */
export interface RedisProcess {
  /** The same after every stop and start. */
  readonly url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Whether Redis is installed on this machine. */
export const hasRedis = existsSync(PROGRAM);

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function acceptsConnections(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** Reserves a free port. Redis does not run until `start`. */
export async function createRedisProcess(): Promise<RedisProcess> {
  const port = await findFreePort();
  let child: ChildProcess | null = null;
  return {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      child = spawn(PROGRAM, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
      const deadline = performance.now() + TEST_WAIT_MS;
      while (!(await acceptsConnections(port))) {
        if (performance.now() > deadline) throw new Error(`Redis did not accept connections within ${TEST_WAIT_MS} ms.`);
        await delay(20);
      }
    },
    async stop() {
      if (child === null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      child = null;
    },
  };
}
