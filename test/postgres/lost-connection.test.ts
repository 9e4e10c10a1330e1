import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { Client } from 'pg';
import { afterEach, expect, it } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { createDatabase, type Database } from '../../src/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const LOCK = 42;
const LAST_WORDS = 'last words';
/** ReadyForQuery, outside a transaction. */
const READY = Buffer.from('Z\0\0\0\x05I');

/** ErrorResponse: what a Postgres that is told to stop sends to each of its connections. */
function goodbye(): Buffer {
  const fields = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', ''];
  const text = Buffer.from(fields.map(field => `${field}\0`).join(''));
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(text.length + 4, 1);
  return Buffer.concat([head, text]);
}

/** Stands before Postgres, and ends each connection with a goodbye in the very packet that brings the last words. */
async function startUndertaker(upstream: URL): Promise<Server> {
  const server = createServer(client => {
    const postgres = connect(Number(upstream.port || 5432), upstream.hostname);
    client.on('error', () => postgres.destroy()).on('close', () => postgres.destroy());
    postgres.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(postgres);
    let held = Buffer.alloc(0);
    postgres.on('data', chunk => {
      held = Buffer.concat([held, chunk]);
      const isLast = held.includes(LAST_WORDS);
      if (isLast && !held.includes(READY)) return;
      client.write(isLast ? Buffer.concat([held, goodbye()]) : held);
      held = Buffer.alloc(0);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

let stage: TestDatabase;
let server: Server;
let database: Database;
let holder: Client;
afterEach(async () => {
  await database.close();
  await holder.end();
  server.close();
  await stage.close();
});

it('that is lost as it passes from one user to the next fails that one, and nobody else', async () => {
  stage = await createTestDatabase();
  const url = new URL(stage.url);
  server = await startUndertaker(new URL(stage.url));
  holder = new Client({ connectionString: stage.url });
  await holder.connect();
  await holder.query('select pg_advisory_lock($1)', [LOCK]);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  database = createDatabase({ url: url.href, poolSize: 1, statementTimeoutMs: 60_000, onConnectionError: () => undefined });
  const first = database.rows(Prisma.sql`select pg_advisory_lock(${LOCK})::text, ${LAST_WORDS} as words`);
  await expect.poll(() => database.gauges().total).toBe(1);
  const second = database
    .transaction(transaction => transaction.rows(Prisma.sql`select 1`))
    .then(
      () => 'done',
      () => 'failed',
    );
  await expect.poll(() => database.gauges().waiting).toBe(1);
  await holder.query('select pg_advisory_unlock($1)', [LOCK]);
  expect(await first).toMatchObject([{ words: LAST_WORDS }]);
  expect(await second).toBe('failed');
  expect(await database.rows(Prisma.sql`select 2 as two`)).toEqual([{ two: 2 }]);
});
