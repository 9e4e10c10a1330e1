import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { GroupCommit } from '../../../src/postgres/group-commit.ts';

/** `a1` is an item of key `a`. The weight is the length: `a1xx` weighs four. */
type Item = string;

class RetryableError extends Error {}

/** A statement that runs until the test ends it. */
interface SentStatement {
  readonly items: readonly Item[];
  /** Resolves it: items of the listed keys must run alone, the others are done. */
  complete(options?: { readonly locked?: readonly string[] }): void;
  fail(error: Error): void;
}

/** A group commit with statements that are recorded, and that run until the test ends them. */
function setUp({ maxWeight = 100, maxWaitMs = 60_000 } = {}) {
  const batches: SentStatement[] = [];
  const alone: SentStatement[] = [];
  const done = (item: Item) => `${item} done`;
  const keyOf = (item: Item) => item.slice(0, 1);
  const group = new GroupCommit<Item, string>({
    keyOf,
    weightOf: item => item.length,
    maxWeight,
    maxWaitMs,
    mayRetryAlone: error => error instanceof RetryableError,
    runBatch: items =>
      new Promise((resolve, reject) => {
        const complete: SentStatement['complete'] = ({ locked = [] } = {}) =>
          resolve(items.map(item => (locked.includes(keyOf(item)) ? null : done(item))));
        batches.push({ items, complete, fail: reject });
      }),
    runAlone: item =>
      new Promise((resolve, reject) => {
        alone.push({ items: [item], complete: () => resolve(done(item)), fail: reject });
      }),
  });
  const outcomes: string[] = [];
  const submit = (...items: readonly Item[]) => {
    for (const item of items) {
      group.submit(item).then(
        result => outcomes.push(result),
        (error: Error) => outcomes.push(`${item}: ${error.message}`),
      );
    }
  };
  return { submit, batches, alone, outcomes };
}

/** Waits a few turns of the event loop, until all statements that can be sent have been sent. */
async function waitForSends(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

const itemsOf = (statements: readonly SentStatement[]) => statements.map(({ items }) => items.join(' '));

describe('items that are submitted together', () => {
  it('form one batch in their order, also if several have the same key, and each gets its result', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1', 'b1', 'a2');
    await Promise.resolve();
    submit('c1');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1 b1 a2 c1']);
    expect(outcomes).toEqual([]);
    batches[0]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1 done', 'b1 done', 'a2 done', 'c1 done']);
    expect(alone).toEqual([]);
    expect(batches).toHaveLength(1);
  });

  it('form several batches if they weigh too much together', async () => {
    const { submit, batches } = setUp({ maxWeight: 6 });
    submit('a1', 'b1', 'c1', 'd1');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1 b1 c1', 'd1']);
  });

  it('keep the order of their key if the first of it does not fit the batch', async () => {
    const { submit, batches, outcomes } = setUp({ maxWeight: 6 });
    submit('a1', 'b1xxx', 'b2', 'c1');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1 c1', 'b1xxx']);
    batches[0]?.complete();
    await waitForSends();
    expect(itemsOf(batches)).toHaveLength(2);
    batches[1]?.complete();
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1 c1', 'b1xxx', 'b2']);
    batches[2]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1 done', 'c1 done', 'b1xxx done', 'b2 done']);
  });

  it('include one that is heavier than a batch may be, in a batch of its own', async () => {
    const { submit, batches } = setUp({ maxWeight: 6 });
    submit('a1xxxxxxxx', 'b1');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1xxxxxxxx', 'b1']);
  });
});

describe('items that are submitted while batches run', () => {
  it('wait while two batches run, and are the next batch as soon as one of them ends', async () => {
    const { submit, batches } = setUp();
    for (const item of ['a1', 'b1', 'c1', 'd1']) {
      submit(item);
      await waitForSends();
    }
    expect(itemsOf(batches)).toEqual(['a1', 'b1']);
    batches[1]?.complete();
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1', 'b1', 'c1 d1']);
  });

  it('wait while an earlier item of their key runs, without delaying those of other keys', async () => {
    const { submit, batches } = setUp();
    submit('a1');
    await waitForSends();
    submit('a2', 'b1', 'a3');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1', 'b1']);
    batches[0]?.complete();
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1', 'b1', 'a2 a3']);
  });

  it('run also if all of them had to wait for their key', async () => {
    const { submit, batches, outcomes } = setUp();
    submit('a1');
    await waitForSends();
    submit('a2');
    await waitForSends();
    expect(itemsOf(batches)).toEqual(['a1']);
    batches[0]?.complete();
    await waitForSends();
    batches[1]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1 done', 'a2 done']);
  });
});

describe('an item without a result', () => {
  it('runs alone, before later items of its key, while those of other keys go on', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1', 'b1', 'a2');
    await waitForSends();
    submit('a3', 'b2');
    batches[0]?.complete({ locked: ['a'] });
    await waitForSends();
    expect(itemsOf(alone)).toEqual(['a1']);
    expect(itemsOf(batches).slice(1)).toEqual(['b2']);
    batches[1]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['b1 done', 'b2 done']);
    alone[0]?.complete();
    await waitForSends();
    expect(itemsOf(alone)).toEqual(['a1', 'a2']);
    expect(batches).toHaveLength(2);
    alone[1]?.complete();
    await waitForSends();
    expect(itemsOf(batches).slice(2)).toEqual(['a3']);
    batches[2]?.complete();
    await waitForSends();
    expect(outcomes.slice(2)).toEqual(['a1 done', 'a2 done', 'a3 done']);
  });

  it('does not count as one of the two batches', async () => {
    const { submit, batches, alone } = setUp();
    submit('a1', 'b1');
    await waitForSends();
    batches[0]?.complete({ locked: ['a', 'b'] });
    await waitForSends();
    expect(itemsOf(alone)).toEqual(['a1', 'b1']);
    for (const item of ['c1', 'd1', 'e1']) {
      submit(item);
      await waitForSends();
    }
    expect(itemsOf(batches).slice(1)).toEqual(['c1', 'd1']);
  });

  it('that fails alone does not fail the next one of its key', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1', 'a2');
    await waitForSends();
    batches[0]?.complete({ locked: ['a'] });
    await waitForSends();
    alone[0]?.fail(new Error('bad'));
    await waitForSends();
    alone[1]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1: bad', 'a2 done']);
  });
});

describe('a batch that fails', () => {
  it('is repeated item by item if the error allows it, and only the bad item fails', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1', 'b1', 'a2');
    await waitForSends();
    batches[0]?.fail(new RetryableError('bad value'));
    await waitForSends();
    expect(itemsOf(alone)).toEqual(['a1', 'b1']);
    alone[0]?.fail(new RetryableError('bad value'));
    alone[1]?.complete();
    await waitForSends();
    alone[2]?.complete();
    await waitForSends();
    expect(itemsOf(alone)).toEqual(['a1', 'b1', 'a2']);
    expect(outcomes).toEqual(['a1: bad value', 'b1 done', 'a2 done']);
    expect(batches).toHaveLength(1);
  });

  it('with one item is not repeated', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1');
    await waitForSends();
    batches[0]?.fail(new RetryableError('bad value'));
    await waitForSends();
    expect(outcomes).toEqual(['a1: bad value']);
    expect(alone).toEqual([]);
  });

  it('fails all its items if another try could write them twice, and no later ones', async () => {
    const { submit, batches, alone, outcomes } = setUp();
    submit('a1', 'b1');
    await waitForSends();
    submit('a2');
    batches[0]?.fail(new Error('connection lost'));
    await waitForSends();
    expect(outcomes).toEqual(['a1: connection lost', 'b1: connection lost']);
    expect(itemsOf(batches)).toEqual(['a1 b1', 'a2']);
    batches[1]?.complete();
    await waitForSends();
    expect(outcomes.slice(2)).toEqual(['a2 done']);
    expect(alone).toEqual([]);
  });
});

describe('an item that throws before its statement is sent', () => {
  it('fails, and the next one of its key runs', async () => {
    const group = new GroupCommit<Item, string>({
      keyOf: () => 'a',
      weightOf: () => 1,
      maxWeight: 10,
      maxWaitMs: 60_000,
      mayRetryAlone: () => true,
      runBatch: async () => [],
      runAlone(item) {
        if (item === 'bad') throw new RangeError('cannot be sent');
        return Promise.resolve(`${item} done`);
      },
    });
    const outcomes = await Promise.allSettled(['bad', 'good'].map(item => group.submit(item)));
    expect(outcomes).toMatchObject([{ reason: { message: 'cannot be sent' } }, { value: 'good done' }]);
    expect(await group.submit('later')).toBe('later done');
  });
});

describe('an item that has waited too long', () => {
  const useFakeClock = () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
  };

  it('is rejected with REQUEST_TIMEOUT instead of running behind others of its key', async () => {
    useFakeClock();
    const { submit, batches, alone, outcomes } = setUp({ maxWaitMs: 1_000 });
    submit('a1', 'a2');
    await waitForSends();
    batches[0]?.complete({ locked: ['a'] });
    await waitForSends();
    vi.advanceTimersByTime(600);
    submit('a3');
    vi.advanceTimersByTime(600);
    alone[0]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1 done', 'a2: The request took too long and was stopped.']);
    expect(itemsOf(alone)).toEqual(['a1']);
    expect(itemsOf(batches)).toEqual(['a1 a2', 'a3']);
  });

  it('is rejected with REQUEST_TIMEOUT instead of running after slow batches', async () => {
    useFakeClock();
    const { submit, batches, outcomes } = setUp({ maxWaitMs: 1_000 });
    for (const item of ['a1', 'b1', 'c1']) {
      submit(item);
      await waitForSends();
    }
    vi.advanceTimersByTime(1_200);
    submit('d1');
    batches[0]?.complete();
    await waitForSends();
    expect(outcomes).toEqual(['a1 done', 'c1: The request took too long and was stopped.']);
    expect(itemsOf(batches)).toEqual(['a1', 'b1', 'd1']);
  });
});

describe('many items of few keys', () => {
  it('all run once, in the order of their key, whatever fails or has to run alone', async () => {
    const written: Item[] = [];
    let statements = 0;
    const write = async (items: readonly Item[]) => {
      statements += 1;
      await new Promise(resolve => setTimeout(resolve, statements % 3));
      written.push(...items);
    };
    const group = new GroupCommit<Item, Item>({
      keyOf: item => item.slice(0, 1),
      weightOf: () => 1,
      maxWeight: 4,
      maxWaitMs: 60_000,
      mayRetryAlone: () => true,
      async runBatch(items) {
        if (items.length > 1 && written.length % 5 === 1) throw new RetryableError('bad value');
        const locked = statements % 4 === 1 ? items[0]?.slice(0, 1) : undefined;
        const kept = items.filter(item => item.slice(0, 1) !== locked);
        await write(kept);
        return items.map(item => (kept.includes(item) ? item : null));
      },
      async runAlone(item) {
        await write([item]);
        return item;
      },
    });
    const items = Array.from({ length: 300 }, (_, index) => `${'abcdefg'[(index * index) % 7]}${index}`);
    const submitted: Item[] = [];
    const results = items.map(async (item, index) => {
      await new Promise(resolve => setTimeout(resolve, index % 20));
      submitted.push(item);
      return group.submit(item);
    });
    expect(await Promise.all(results)).toEqual(items);
    for (const key of 'abcdefg') {
      expect(written.filter(item => item.startsWith(key))).toEqual(submitted.filter(item => item.startsWith(key)));
    }
    expect(written).toHaveLength(300);
    expect(statements).toBeLessThan(300);
  });
});
