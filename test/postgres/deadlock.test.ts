import { Client } from 'pg';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import type { Database } from '../../src/postgres/database.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createTestDatabase } from '../support/database.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';

/** Locks 1 and then 2. The rival connection takes them in the opposite order. */
const LOCK_BOTH = Prisma.sql`select pg_advisory_xact_lock(1)::text as "first", pg_advisory_xact_lock(2)::text as "second"`;

async function open(): Promise<{ database: Database; rival: Client }> {
  const { url, close } = await createTestDatabase();
  const database = createDatabase({ url, poolSize: 2, statementTimeoutMs: 60_000, onConnectionError: () => undefined });
  const rival = new Client({ connectionString: url });
  await rival.connect();
  onTestFinished(async () => {
    await rival.end();
    await database.close();
    await close();
  });
  // Postgres ends the connection that detects the deadlock first. That is usually the application's, after the default
  // deadlock_timeout of one second; it is the rival's if the rival starts to wait only after that second.
  await rival.query("set deadlock_timeout = '5s'");
  return { database, rival };
}

/** Makes a statement of the application and the rival deadlock. Returns true if Postgres ended the rival's transaction. */
async function causeDeadlock(database: Database, rival: Client): Promise<boolean> {
  await rival.query('begin');
  await rival.query('select pg_advisory_xact_lock(2)');
  const statement = database.rows(LOCK_BOTH);
  const isWaiting = async () => {
    const { rows } = await rival.query(
      "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
    );
    return rows.length > 0;
  };
  await vi.waitUntil(isWaiting, WAIT_OPTIONS);
  const rivalError = await rival.query('select pg_advisory_xact_lock(1)').then(
    () => null,
    (error: unknown) => error,
  );
  await rival.query('rollback');
  expect(await statement).toEqual([{ first: '', second: '' }]);
  if (rivalError !== null) expect(rivalError).toMatchObject({ code: '40P01' });
  return rivalError !== null;
}

it('a single statement that Postgres ended to break a deadlock is run again', async () => {
  const { database, rival } = await open();
  let sent = 0;
  database.onStatement(() => {
    sent += 1;
  });
  let deadlocks = 1;
  while (await causeDeadlock(database, rival)) deadlocks += 1;
  expect(sent).toBe(deadlocks + 1);
});
