import { expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createResponseMemory } from '../../src/postgres/response-memory.ts';
import { createTestDatabase } from '../support/database.ts';

async function open(maxBytes: number) {
  const { url, close } = await createTestDatabase();
  const memory = createResponseMemory(maxBytes);
  const database = createDatabase({ url, poolSize: 2, statementTimeoutMs: 60_000, memory, onConnectionError: () => undefined });
  onTestFinished(async () => {
    await database.close();
    await close();
  });
  return { memory, database };
}

it('a statement fails with QUERY_TOO_COMPLEX also if only its last packet exceeds the budget', async () => {
  const { memory, database } = await open(1_000);
  // Postgres sends this row and the end of the statement in one packet.
  const row = Prisma.sql`select repeat('x', 3000) as text`;
  await expect(database.forOperation(memory.openBudget()).rows(row)).rejects.toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
  expect(await database.rows(Prisma.sql`select 1 as one`)).toEqual([{ one: 1 }]);
});

it('an operation that ends while its statements are still running uses no memory after they have ended', async () => {
  const { memory, database } = await open(1_000_000);
  const budget = memory.openBudget();
  const reads = database.forOperation(budget);
  const running = ['0.1', '0.2'].map(seconds =>
    reads.rows(Prisma.sql`select pg_sleep(${seconds}::float8)::text, repeat('x', 60000) as text`),
  );
  budget.release();
  await Promise.all(running);
  expect(memory.usedBytes()).toBe(0);
});
