import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { Client } from 'pg';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { ReconnectingConnection } from '../../src/postgres/reconnecting-connection.ts';
import { createTestDatabase } from '../support/database.ts';

const LOCK = 42;
const LAST_RESULT = 'last result';
/** The protocol message ReadyForQuery, outside a transaction. */
const READY = Buffer.from('Z\0\0\0\x05I');

/** The protocol message ErrorResponse that Postgres sends on every connection when an administrator stops it. */
function terminationMessage(): Buffer {
  const fields = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', ''];
  const text = Buffer.from(fields.map(field => `${field}\0`).join(''));
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(text.length + 4, 1);
  return Buffer.concat([head, text]);
}

/** Starts a proxy in front of Postgres. It appends the termination message to the packet that contains LAST_RESULT. */
async function startTerminatingProxy(upstream: URL): Promise<Server> {
  const server = createServer(client => {
    const postgres = connect(Number(upstream.port || 5432), upstream.hostname);
    client.on('error', () => postgres.destroy()).on('close', () => postgres.destroy());
    postgres.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(postgres);
    let buffered = Buffer.alloc(0);
    postgres.on('data', chunk => {
      buffered = Buffer.concat([buffered, chunk]);
      const isLast = buffered.includes(LAST_RESULT);
      if (isLast && !buffered.includes(READY)) return;
      client.write(isLast ? Buffer.concat([buffered, terminationMessage()]) : buffered);
      buffered = Buffer.alloc(0);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** A database, and the URL that reaches it through the terminating proxy. */
async function setUp(): Promise<{ directUrl: string; url: string }> {
  const { url: directUrl, close } = await createTestDatabase();
  const proxy = await startTerminatingProxy(new URL(directUrl));
  onTestFinished(async () => {
    proxy.close();
    await close();
  });
  const url = new URL(directUrl);
  url.hostname = '127.0.0.1';
  url.port = String((proxy.address() as AddressInfo).port);
  return { directUrl, url: url.href };
}

it('a waiting caller gets a new connection if Postgres ends the old one together with the previous result', async () => {
  const { directUrl, url } = await setUp();
  const lockHolder = new Client({ connectionString: directUrl });
  await lockHolder.connect();
  await lockHolder.query('select pg_advisory_lock($1)', [LOCK]);
  const database = createDatabase({ url, poolSize: 1, statementTimeoutMs: 60_000, onConnectionError: () => undefined });
  onTestFinished(async () => {
    await database.close();
    await lockHolder.end();
  });
  const first = database.rows(Prisma.sql`select pg_advisory_lock(${LOCK})::text, ${LAST_RESULT} as result`);
  await expect.poll(() => database.gauges().total).toBe(1);
  const second = database
    .transaction(transaction => transaction.rows(Prisma.sql`select 1`))
    .then(
      () => 'done',
      () => 'failed',
    );
  await expect.poll(() => database.gauges().waiting).toBe(1);
  await lockHolder.query('select pg_advisory_unlock($1)', [LOCK]);
  expect(await first).toMatchObject([{ result: LAST_RESULT }]);
  expect(await second).toBe('done');
  expect(await database.rows(Prisma.sql`select 2 as two`)).toEqual([{ two: 2 }]);
});

it('a reconnecting connection connects again if Postgres ends the connection together with the result of its setup', async () => {
  const { url } = await setUp();
  const onConnected = vi.fn();
  const setup = `select '${LAST_RESULT}'`;
  const connection = new ReconnectingConnection({ url, name: 'test', log: { warn: () => undefined }, setup, onConnected });
  onTestFinished(() => connection.close());
  // The proxy ends every connection in this way.
  for (let i = 0; i < 2; i += 1) await expect(connection.query('select 1')).rejects.toThrow('terminating connection');
  expect(onConnected).not.toHaveBeenCalled();
});
