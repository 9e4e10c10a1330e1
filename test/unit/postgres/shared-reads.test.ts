import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../src/errors.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import type { OperationReads } from '../../../src/postgres/database.ts';
import { createResponseMemory, type MemoryBudget } from '../../../src/postgres/response-memory.ts';
import { type ReadByKeys, SharedReads } from '../../../src/postgres/shared-reads.ts';

const MAX_BYTES = 1_000_000;

/** The reads of an operation. Its statements return no rows, but as many bytes as their text says. */
function operationWith(budget: MemoryBudget): OperationReads {
  return {
    budget,
    limited: read => read(),
    async rows({ text }) {
      budget.addRead(Number(text) || 0);
      return [];
    },
  };
}

/** Shared reads whose statements are recorded and end when the test calls `complete`. */
function setUp({ maxKeys = 32 } = {}) {
  const memory = createResponseMemory(MAX_BYTES);
  const database = { forOperation: operationWith, trace: <Result>(work: () => Promise<Result>) => work() };
  const reads = new SharedReads<string, string>({ database, memory, maxKeys });
  const sent: { variant: string; keys: readonly string[]; complete: (failure?: Error) => void }[] = [];
  const readOf =
    (variant: string): ReadByKeys<string, string> =>
    (_executor, keys) =>
      new Promise((resolve, reject) => {
        const complete = (failure?: Error) => (failure === undefined ? resolve(keys.map(key => `${variant} of ${key}`)) : reject(failure));
        sent.push({ variant, keys, complete });
      });
  const openOperation = () => operationWith(memory.openBudget());
  const read = (keys: readonly string[], variant = 'titles', operation = openOperation()) =>
    reads.forOperation(operation)(variant, keys, readOf(variant));
  return { memory, reads, sent, read, openOperation };
}

/** Waits a few turns of the event loop, until all statements that can be sent have been sent. */
async function waitForSends(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

describe('concurrent reads', () => {
  it('share a statement, and each gets the values of its keys', async () => {
    const { sent, read } = setUp();
    const reading = ['a', 'b', 'a'].map(key => read([key]));
    await waitForSends();
    expect(sent.map(({ keys }) => keys)).toEqual([['a', 'b']]);
    sent[0]?.complete();
    expect(await Promise.all(reading)).toEqual([['titles of a'], ['titles of b'], ['titles of a']]);
  });

  it('wait while two statements are running, and are then sent as one statement', async () => {
    const { sent, read } = setUp();
    const reading = [];
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      reading.push(read([key]));
      await waitForSends();
    }
    expect(sent.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    sent[1]?.complete();
    await waitForSends();
    expect(sent.map(({ keys }) => keys)).toEqual([['a'], ['b'], ['c', 'd', 'e']]);
    for (const { complete } of sent) complete();
    expect((await Promise.all(reading)).flat()).toEqual(['a', 'b', 'c', 'd', 'e'].map(key => `titles of ${key}`));
  });

  it('wait only a limited time for blocked statements', async () => {
    const { sent, read } = setUp();
    const reading = [];
    for (const key of ['a', 'b', 'c', 'd']) {
      reading.push(read([key]));
      await waitForSends();
    }
    await expect.poll(() => sent.map(({ keys }) => keys)).toEqual([['a'], ['b'], ['c', 'd']]);
    sent[2]?.complete();
    expect(await Promise.all(reading.slice(2))).toEqual([['titles of c'], ['titles of d']]);
    for (const { complete } of sent) complete();
    expect(await Promise.all(reading)).toHaveLength(4);
    expect(sent).toHaveLength(3);
  });

  it('are split into several statements if they have many keys', async () => {
    const { sent, read } = setUp({ maxKeys: 3 });
    const reading = ['a', 'b', 'c', 'd', 'e'].map(key => read([key]));
    await waitForSends();
    expect(sent.map(({ keys }) => keys)).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e'],
    ]);
    for (const { complete } of sent) complete();
    expect((await Promise.all(reading)).flat()).toHaveLength(5);
  });

  it('of different variants are different statements', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a'], 'titles for agent x'), read(['a'], 'titles for agent y')];
    await waitForSends();
    expect(sent.map(({ variant, keys }) => [variant, ...keys])).toEqual([
      ['titles for agent x', 'a'],
      ['titles for agent y', 'a'],
    ]);
    for (const { complete } of sent) complete();
    expect(await Promise.all(reading)).toEqual([['titles for agent x of a'], ['titles for agent y of a']]);
  });

  it('never use a statement that was sent before they started', async () => {
    const { sent, read } = setUp();
    const first = read(['a']);
    await waitForSends();
    const second = read(['a']);
    await waitForSends();
    expect(sent).toHaveLength(2);
    for (const { complete } of sent) complete();
    await Promise.all([first, second]);
    const third = read(['a']);
    await waitForSends();
    expect(sent).toHaveLength(3);
    sent[2]?.complete();
    expect(await third).toEqual(['titles of a']);
  });
});

describe('a read with more keys than can be shared', () => {
  it('is sent as a separate statement', async () => {
    const { sent, read } = setUp();
    const many = ['a', 'b', 'c', 'd', 'e', 'f'];
    const reading = [read(many), read(['g'])];
    await waitForSends();
    expect(sent.map(({ keys }) => keys.join('')).toSorted()).toEqual(['abcdef', 'g']);
    for (const { complete } of sent) complete();
    expect((await Promise.all(reading))[0]).toEqual(many.map(key => `titles of ${key}`));
  });
});

describe('a read that fails', () => {
  it('fails for all operations that share its statement, and not for later ones', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['b'])];
    await waitForSends();
    sent[0]?.complete(new Error('failed'));
    expect((await Promise.allSettled(reading)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const next = read(['a']);
    await waitForSends();
    sent[1]?.complete();
    expect(await next).toEqual(['titles of a']);
  });

  it('because the rows of one key are too large is not repeated', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['a'])];
    await waitForSends();
    sent[0]?.complete(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    const outcomes = await Promise.allSettled(reading);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'QUERY_TOO_COMPLEX' } });
    expect(sent).toHaveLength(1);
  });

  it('because the rows of all its keys together are too large is repeated once per operation', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['b'])];
    await waitForSends();
    sent[0]?.complete(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    await waitForSends();
    expect(sent.slice(1).map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    sent[1]?.complete();
    sent[2]?.complete(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    const [first, second] = await Promise.allSettled(reading);
    expect(first).toMatchObject({ value: ['titles of a'] });
    expect(second).toMatchObject({ reason: { code: 'QUERY_TOO_COMPLEX' } });
  });
});

describe('the budget of an operation', () => {
  const text: ReadByKeys<string, string> = async ({ rows }) => {
    await rows(Prisma.raw(String(MAX_BYTES / 2)));
    return ['x'.repeat(MAX_BYTES / 2)];
  };

  it('is charged for the values that the operation got from a shared statement', async () => {
    const { memory, reads, openOperation } = setUp();
    const operations = [openOperation(), openOperation()];
    const reading = operations.map(operation => reads.forOperation(operation)('texts', ['a'], text));
    for (const values of await Promise.all(reading)) expect(values).toHaveLength(1);
    expect(memory.usedBytes()).toBeGreaterThanOrEqual(MAX_BYTES);
    for (const { budget } of operations) budget.release();
    expect(memory.usedBytes()).toBe(0);
  });

  it('is charged an equal share of a small statement, whose values are not measured', async () => {
    const { memory, reads, openOperation } = setUp();
    const small: ReadByKeys<string, string> = async ({ rows }) => {
      await rows(Prisma.raw('1000'));
      return ['x'.repeat(100_000)];
    };
    await Promise.all([openOperation(), openOperation()].map(operation => reads.forOperation(operation)('texts', ['a'], small)));
    expect(memory.usedBytes()).toBe(1_000);
  });

  it('refuses values of shared statements that together exceed the size of one response, and only for that operation', async () => {
    const { reads, openOperation } = setUp();
    const readTexts = reads.forOperation(openOperation());
    const others = [openOperation(), openOperation()].map(operation => reads.forOperation(operation));
    const readWith = (other = readTexts) => Promise.allSettled([readTexts('texts', ['a'], text), other('texts', ['a'], text)]);
    expect((await readWith(others[0])).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    const [second, other] = await readWith(others[1]);
    expect(second).toMatchObject({ reason: { code: 'QUERY_TOO_COMPLEX' } });
    expect(other).toMatchObject({ status: 'fulfilled' });
  });

  it('pays for a statement that is not shared as it arrives', async () => {
    const { memory, openOperation } = setUp();
    const budgets: MemoryBudget[] = [];
    const operation = openOperation();
    const alone = new SharedReads<string, string>({
      database: {
        trace: work => work(),
        forOperation(given) {
          budgets.push(given);
          return operationWith(given);
        },
      },
      memory,
      maxKeys: 32,
    });
    await alone.forOperation(operation)('texts', ['a'], async ({ rows }) => rows(Prisma.sql`select`));
    expect(budgets).toEqual([operation.budget]);
  });
});
