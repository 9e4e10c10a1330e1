import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDataFolder } from '../../../src/embedded/data-folder.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/embedded/embedded-postgres.ts';
import { migrate } from '../../../src/postgres/migrations.ts';

/** A Postgres that a test can stop and start, behind a TCP proxy that can stop forwarding. */
export interface RestartablePostgres {
  /** The URL of the migrated database through the proxy. It does not change when Postgres restarts. */
  readonly url: string;
  /** Shuts Postgres down cleanly. */
  stop(): Promise<void>;
  /** Stops all processes of Postgres immediately, without a checkpoint. */
  crash(): Promise<void>;
  start(): Promise<void>;
  /** Stops forwarding data on existing and new connections, without closing them. */
  freeze(): void;
  /** Forwards data again, including data held back. */
  unfreeze(): void;
  /** Stops forwarding data on existing connections. New connections work. */
  freezeConnections(): void;
  close(): Promise<void>;
}

const FOLDER_PREFIX = 'sessiongraph-steady-';

/** Starts a durable Postgres with all migrations applied. */
export async function startRestartablePostgres(): Promise<RestartablePostgres> {
  const folder = await prepareDataFolder(await mkdtemp(join(tmpdir(), FOLDER_PREFIX)));
  const log = { info: () => undefined, warn: () => undefined };
  const launch = () => startEmbeddedPostgres({ folder, maxConnections: 60, durable: true, log });
  let postgres: EmbeddedPostgres | null = await launch();
  let port = Number(new URL(postgres.url).port);
  let frozen = false;
  const sockets = new Set<Socket>();
  const proxy = createServer(client => {
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
    if (frozen) for (const socket of [client, server]) socket.pause();
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
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
    freeze() {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    unfreeze() {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    freezeConnections() {
      for (const socket of sockets) socket.pause();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
