import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../src/errors.ts';
import { createAnswerMemory } from '../../../src/postgres/answer-memory.ts';
import type { HoldingDatabase } from '../../../src/postgres/database.ts';
import { JoinedReads, type ReadByKeys, readOnce, WHOLE } from '../../../src/postgres/joined-reads.ts';

const MAX_BYTES = 1_000_000;

/** A database whose statements are the texts they are made of. */
function pretend(): HoldingDatabase {
  const database = { holding: () => database, inTurn: <Result>(read: () => Result) => read() } as unknown as HoldingDatabase;
  return database;
}

/** Reads of which it is known what was sent, each answered when the test says so. */
function setUp({ maxKeys = 32 } = {}) {
  const answers = createAnswerMemory(MAX_BYTES);
  const reads = new JoinedReads<string, string>({ database: pretend(), answers, maxKeys });
  const sent: { about: string; keys: readonly string[]; answer: (failure?: Error) => void }[] = [];
  const readOf =
    (about: string): ReadByKeys<string, string> =>
    (_from, keys) =>
      new Promise((resolve, reject) => {
        const answer = (failure?: Error) => (failure === undefined ? resolve(keys.map(key => `${about} of ${key}`)) : reject(failure));
        sent.push({ about, keys, answer });
      });
  const shares = () => {
    const share = answers.openShare();
    return { share, database: pretend() };
  };
  const read = (keys: readonly string[], about = 'titles', own = shares()) => reads.joinedBy(own)(about, keys, readOf(about));
  return { answers, reads, sent, read, shares };
}

/** Long enough for what is to be sent to have been sent. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

describe('reads that are under way together', () => {
  it('share a statement, and each gets what it asked for', async () => {
    const { sent, read } = setUp();
    const reading = ['a', 'b', 'a'].map(key => read([key]));
    await turns();
    expect(sent.map(({ keys }) => keys)).toEqual([['a', 'b']]);
    sent[0]?.answer();
    expect(await Promise.all(reading)).toEqual([['titles of a'], ['titles of b'], ['titles of a']]);
  });

  it('wait while two statements are under way, and then go together', async () => {
    const { sent, read } = setUp();
    const reading = [];
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      reading.push(read([key]));
      await turns();
    }
    expect(sent.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    sent[1]?.answer();
    await turns();
    expect(sent.map(({ keys }) => keys)).toEqual([['a'], ['b'], ['c', 'd', 'e']]);
    for (const { answer } of sent) answer();
    expect((await Promise.all(reading)).flat()).toEqual(['a', 'b', 'c', 'd', 'e'].map(key => `titles of ${key}`));
  });

  it('do not wait for ever for what may be held up', async () => {
    const { sent, read } = setUp();
    const reading = [];
    for (const key of ['a', 'b', 'c', 'd']) {
      reading.push(read([key]));
      await turns();
    }
    await expect.poll(() => sent.map(({ keys }) => keys)).toEqual([['a'], ['b'], ['c', 'd']]);
    sent[2]?.answer();
    expect(await Promise.all(reading.slice(2))).toEqual([['titles of c'], ['titles of d']]);
    for (const { answer } of sent) answer();
    expect(await Promise.all(reading)).toHaveLength(4);
    expect(sent).toHaveLength(3);
  });

  it('go in several statements where they are many', async () => {
    const { sent, read } = setUp({ maxKeys: 3 });
    const reading = ['a', 'b', 'c', 'd', 'e'].map(key => read([key]));
    await turns();
    expect(sent.map(({ keys }) => keys)).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e'],
    ]);
    for (const { answer } of sent) answer();
    expect((await Promise.all(reading)).flat()).toHaveLength(5);
  });

  it('of different things are different statements', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a'], 'titles for agent x'), read(['a'], 'titles for agent y')];
    await turns();
    expect(sent.map(({ about, keys }) => [about, ...keys])).toEqual([
      ['titles for agent x', 'a'],
      ['titles for agent y', 'a'],
    ]);
    for (const { answer } of sent) answer();
    expect(await Promise.all(reading)).toEqual([['titles for agent x of a'], ['titles for agent y of a']]);
  });

  it('never give what was read before they were asked', async () => {
    const { sent, read } = setUp();
    const first = read(['a']);
    await turns();
    const second = read(['a']);
    await turns();
    expect(sent).toHaveLength(2);
    for (const { answer } of sent) answer();
    await Promise.all([first, second]);
    const third = read(['a']);
    await turns();
    expect(sent).toHaveLength(3);
    sent[2]?.answer();
    expect(await third).toEqual(['titles of a']);
  });
});

describe('who asks for many rows', () => {
  const many = ['a', 'b', 'c', 'd', 'e', 'f'];

  it('shares a statement with those who ask for the very same, and with no others', async () => {
    const { sent, read } = setUp();
    const reading = [read(many), read(many), read(many.slice(1)), read(['g'])];
    await turns();
    expect(sent.map(({ keys }) => keys.join('')).toSorted()).toEqual(['abcdef', 'bcdef', 'g']);
    for (const { answer } of sent) answer();
    const [first, second, third] = await Promise.all(reading);
    expect(first).toEqual(many.map(key => `titles of ${key}`));
    expect(second).toEqual(first);
    expect(third).toEqual(many.slice(1).map(key => `titles of ${key}`));
  });
});

describe('a read that fails', () => {
  it('fails for all who share it, and for nobody after them', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['b'])];
    await turns();
    sent[0]?.answer(new Error('gone'));
    expect((await Promise.allSettled(reading)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const next = read(['a']);
    await turns();
    sent[1]?.answer();
    expect(await next).toEqual(['titles of a']);
  });

  it('because its own rows are too large is not made again, however many share it', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['a'])];
    await turns();
    sent[0]?.answer(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    const outcomes = await Promise.allSettled(reading);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'QUERY_TOO_COMPLEX' } });
    expect(sent).toHaveLength(1);
  });

  it('because its rows are too large together is made by each alone', async () => {
    const { sent, read } = setUp();
    const reading = [read(['a']), read(['b'])];
    await turns();
    sent[0]?.answer(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    await turns();
    expect(sent.slice(1).map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    sent[1]?.answer();
    sent[2]?.answer(new DomainError('QUERY_TOO_COMPLEX', 'too large'));
    const [first, second] = await Promise.allSettled(reading);
    expect(first).toMatchObject({ value: ['titles of a'] });
    expect(second).toMatchObject({ reason: { code: 'QUERY_TOO_COMPLEX' } });
  });
});

describe('what an operation has read', () => {
  it('is held in its own share, where it is worth counting', async () => {
    const { answers, reads, shares } = setUp();
    const owns = [shares(), shares()];
    const read = readOnce(async () => 'x'.repeat(MAX_BYTES / 4));
    for (const own of owns) expect(await reads.joinedBy(own)('texts', WHOLE, read)).toHaveLength(1);
    expect(answers.heldBytes()).toBeGreaterThanOrEqual(MAX_BYTES / 2);
    for (const { share } of owns) share.release();
    expect(answers.heldBytes()).toBe(0);
  });

  it('is refused where it is more than one answer may hold', async () => {
    const { reads, shares } = setUp();
    const own = shares();
    const texts = reads.joinedBy(own);
    const read = readOnce(async () => 'x'.repeat(MAX_BYTES / 2));
    await texts('texts', WHOLE, read);
    await expect(texts('texts', WHOLE, read)).rejects.toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
  });
});
