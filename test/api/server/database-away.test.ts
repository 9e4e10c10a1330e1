import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { createDatabase } from '../../../src/postgres/pooled-database.ts';
import { createErrorModel } from '../../../src/server/graphql/error-model.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

/** A TCP proxy to the database. */
interface DatabaseProxy {
  readonly url: string;
  /** Breaks all connections and rejects new ones. */
  cut(): void;
  /** Accepts connections again. */
  restore(): void;
  close(): Promise<void>;
}

async function startDatabaseProxy(databaseUrl: string): Promise<DatabaseProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let open = true;
  const host = target.searchParams.get('host') ?? target.hostname;
  const port = Number(target.searchParams.get('port') ?? (target.port || 5432));
  const listener: Server = createServer(client => {
    if (!open) return client.destroy();
    const server = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.pipe(server).pipe(client);
    return undefined;
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  const url = new URL(databaseUrl);
  url.search = '';
  url.hostname = '127.0.0.1';
  url.port = String(typeof address === 'object' ? address?.port : '');
  const destroyAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut() {
      open = false;
      destroyAll();
    },
    restore() {
      open = true;
    },
    async close() {
      destroyAll();
      listener.close();
      await once(listener, 'close');
    },
  };
}

let database: TestDatabase;
let proxy: DatabaseProxy;
let app: TestApp;
beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startDatabaseProxy(database.url);
  app = await startTestApp({ databaseUrl: proxy.url });
});
afterAll(async () => {
  await app.close();
  await proxy.close();
  await database.close();
});

const LIST = '{ sessions(first: 1) { nodes { id } } }';

it('requests return SERVICE_UNAVAILABLE while the database is unreachable and succeed again afterwards', async () => {
  (await app.gql(LIST)).expectOk();
  proxy.cut();
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const answer = await app.gql(LIST);
    const error = answer.expectError('SERVICE_UNAVAILABLE');
    expect(error.extensions.retryable).toBe(true);
    expect(JSON.stringify(answer.errors)).not.toMatch(/127\.0\.0\.1|ECONN|prisma|pg/i);
    const created = await app.gql('mutation { createSession(input: { title: "a" }) { created } }');
    created.expectError('SERVICE_UNAVAILABLE');
  }
  const health = new URL('/readyz', app.url);
  expect((await fetch(health)).status).toBe(503);
  proxy.restore();
  (await app.gql(LIST)).expectOk();
  expect((await fetch(health)).status).toBe(200);
});

it('a request that waits for a lock longer than REQUEST_TIMEOUT returns REQUEST_TIMEOUT', async () => {
  const server = await app.startSecondServer({ env: { REQUEST_TIMEOUT: '2s' } });
  const locker = new Client({ connectionString: database.url });
  await locker.connect();
  try {
    await locker.query('begin');
    await locker.query('lock table aria_engine.chat_sessions in access exclusive mode');
    const answer = await server.gql(LIST);
    answer.expectError('REQUEST_TIMEOUT');
    expect(JSON.stringify(answer.errors)).not.toMatch(/statement|57014|prisma/i);
  } finally {
    await locker.end();
  }
});

it('a statement that Postgres cancels after statement_timeout returns REQUEST_TIMEOUT', async () => {
  const pool = createDatabase({ url: database.url, poolSize: 2, statementTimeoutMs: 100, onConnectionError: () => undefined });
  try {
    const failure = await pool.rows(Prisma.sql`select pg_sleep(10)`).catch((error: unknown) => error);
    expect(createErrorModel(pino({ level: 'silent' })).present(failure, {}).extensions.code).toBe('REQUEST_TIMEOUT');
  } finally {
    await pool.close();
  }
});
