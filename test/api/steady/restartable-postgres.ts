import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDataFolder } from '../../../src/embedded/data-folder.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/embedded/embedded-postgres.ts';
import { migrate } from '../../../src/postgres/migrations.ts';

/** A Postgres of the test's own that can be away, and the way to it that can be silent. */
export interface RestartablePostgres {
  /** Of the migrated database, by a way that stays the same. */
  readonly url: string;
  /** Ends it as an operator does. */
  stop(): Promise<void>;
  /** Ends it as an accident does: every backend at once, nothing written down. */
  crash(): Promise<void>;
  start(): Promise<void>;
  /** From now on nothing passes in either direction, and nothing is refused. */
  silence(): void;
  /** Everything passes again, what was held back included. */
  speak(): void;
  /** The connections there are stay silent for good; new ones pass. */
  strand(): void;
  close(): Promise<void>;
}

const FOLDER_PREFIX = 'sessiongraph-steady-';

/** Starts one, durable, with all migrations applied. */
export async function startRestartablePostgres(): Promise<RestartablePostgres> {
  const folder = await prepareDataFolder(await mkdtemp(join(tmpdir(), FOLDER_PREFIX)));
  const log = { info: () => undefined, warn: () => undefined };
  const launch = () => startEmbeddedPostgres({ folder, maxConnections: 60, durable: true, log });
  let postgres: EmbeddedPostgres | null = await launch();
  let port = Number(new URL(postgres.url).port);
  let silent = false;
  const sockets = new Set<Socket>();
  const relay = createServer(client => {
    const server = connect(port, '127.0.0.1');
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', data => void server.write(data));
    server.on('data', data => void client.write(data));
    if (silent) for (const socket of [client, server]) socket.pause();
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const address = relay.address();
  const url = new URL(postgres.url);
  url.port = String(typeof address === 'object' ? address?.port : '');
  await migrate(url.href);

  async function stop(): Promise<void> {
    await postgres?.stop();
    postgres = null;
  }

  return {
    url: url.href,
    stop,
    async crash() {
      const pid = Number.parseInt(await readFile(join(folder, 'postgres-18', 'postmaster.pid'), 'utf8'), 10);
      process.kill(pid, 'SIGQUIT');
      await postgres?.failed;
      postgres = null;
    },
    async start() {
      postgres = await launch();
      port = Number(new URL(postgres.url).port);
    },
    silence() {
      silent = true;
      for (const socket of sockets) socket.pause();
    },
    speak() {
      silent = false;
      for (const socket of sockets) socket.resume();
    },
    strand() {
      for (const socket of sockets) socket.pause();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      relay.close();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
