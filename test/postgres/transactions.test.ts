import { expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import type { Database } from '../../src/postgres/database.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createTestDatabase } from '../support/database.ts';
import { runSql } from '../support/sql.ts';

const INSERT = Prisma.sql`insert into entry values (1)`;
const NUMBER_OF_ENTRIES = Prisma.sql`select count(*)::int as number from entry`;

async function open(statementTimeoutMs = 60_000): Promise<{ url: string; database: Database }> {
  const { url, close } = await createTestDatabase();
  await runSql(url, 'create table entry (id int)');
  const database = createDatabase({ url, poolSize: 1, statementTimeoutMs, onConnectionError: () => undefined });
  onTestFinished(async () => {
    await database.close();
    await close();
  });
  return { url, database };
}

it('a transaction rejects with the error of its work, also if the connection is lost before the rollback', async () => {
  const { url, database } = await open();
  const transaction = database.transaction(async ({ rows }) => {
    const [backend] = await rows<{ pid: number }>(Prisma.sql`select pg_backend_pid() as pid`);
    await runSql(url, `select pg_terminate_backend(${backend?.pid})`);
    throw new Error('The work failed.');
  });
  await expect(transaction).rejects.toThrow('The work failed.');
  expect(await database.rows(NUMBER_OF_ENTRIES)).toEqual([{ number: 0 }]);
});

it('a statement that is sent after the end of its transaction fails, and is not executed outside', async () => {
  const { database } = await open();
  let late: Promise<string> | undefined;
  const transaction = database.transaction(async ({ rows }) => {
    late = rows(Prisma.sql`select pg_sleep(0.1)::text`)
      .then(() => rows(INSERT))
      .then(() => 'executed', String);
    throw new Error('The work failed.');
  });
  await expect(transaction).rejects.toThrow('The work failed.');
  expect(await late).toBe('Error: The transaction has ended.');
  expect(await database.rows(NUMBER_OF_ENTRIES)).toEqual([{ number: 0 }]);
});

it('a transaction whose statements together take longer than the statement timeout fails with SERVICE_UNAVAILABLE', async () => {
  const { database } = await open(1_000);
  const transaction = database.transaction(async ({ rows }) => {
    await rows(INSERT);
    for (let i = 0; i < 3; i += 1) await rows(Prisma.sql`select pg_sleep(0.6)::text`);
  });
  await expect(transaction).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  expect(await database.rows(NUMBER_OF_ENTRIES)).toEqual([{ number: 0 }]);
});
