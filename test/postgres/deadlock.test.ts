import { Client } from 'pg';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { createDatabase, type Database } from '../../src/postgres/database.ts';
import { createTestDatabase } from '../support/database.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';

/** Ours takes them in this order, its rival the other way round. */
const BOTH = Prisma.sql`select pg_advisory_xact_lock(1)::text as "first", pg_advisory_xact_lock(2)::text as "second"`;

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
  // Postgres breaks a deadlock with whoever looks for it first: ours, after its second, unless the rival came only then.
  await rival.query("set deadlock_timeout = '5s'");
  return { database, rival };
}

/** Makes a statement of ours and the rival wait for one another; true where Postgres ended the rival. */
async function collide(database: Database, rival: Client): Promise<boolean> {
  await rival.query('begin');
  await rival.query('select pg_advisory_xact_lock(2)');
  const ours = database.rows(BOTH);
  const isWaiting = async () => {
    const { rows } = await rival.query(
      "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
    );
    return rows.length > 0;
  };
  await vi.waitUntil(isWaiting, WAIT_OPTIONS);
  const outcome = await rival.query('select pg_advisory_xact_lock(1)').then(
    () => null,
    (error: unknown) => error,
  );
  await rival.query('rollback');
  expect(await ours).toEqual([{ first: '', second: '' }]);
  if (outcome !== null) expect(outcome).toMatchObject({ code: '40P01' });
  return outcome !== null;
}

it('a single statement with which Postgres broke a deadlock is run anew', async () => {
  const { database, rival } = await open();
  let sent = 0;
  database.onStatement(() => {
    sent += 1;
  });
  let collisions = 1;
  while (await collide(database, rival)) collisions += 1;
  expect(sent).toBe(collisions + 1);
});
