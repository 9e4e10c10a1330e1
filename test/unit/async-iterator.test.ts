import { describe, expect, it, vi } from 'vitest';
import { wrapAsyncIterator } from '../../src/async-iterator.ts';

const DONE = { done: true, value: undefined };

/** A source that returns 1 and 2, and never settles after that. */
function createSource() {
  let count = 0;
  return {
    next: () => {
      count += 1;
      return count > 2 ? new Promise<never>(() => undefined) : Promise.resolve({ done: false, value: count } as const);
    },
    return: vi.fn(() => Promise.resolve({ done: true, value: undefined } as const)),
  };
}

function wrapped(next?: () => Promise<IteratorResult<number, undefined>>) {
  const source = createSource();
  const onEnd = vi.fn();
  return { source, onEnd, stream: wrapAsyncIterator<number>(source, { next: next ?? (() => source.next()), onEnd }) };
}

describe('wrapAsyncIterator', () => {
  it('returns the results of next and reports the end of the source once', async () => {
    const results: IteratorResult<number, undefined>[] = [
      { done: false, value: 10 },
      { done: true, value: undefined },
    ];
    const { stream, source, onEnd } = wrapped(async () => results.shift() ?? { done: true, value: undefined });
    const values = [];
    for await (const value of stream) values.push(value);
    expect(values).toEqual([10]);
    expect(await stream.next()).toEqual(DONE);
    expect(source.return).toHaveBeenCalledTimes(1);
    expect(onEnd.mock.calls).toEqual([[undefined]]);
  });

  it('rejects with the error of next, reports the error and ends', async () => {
    const error = new Error('broken');
    const { stream, source, onEnd } = wrapped(() => Promise.reject(error));
    await expect(stream.next()).rejects.toBe(error);
    expect(await stream.next()).toEqual(DONE);
    expect(source.return).toHaveBeenCalledTimes(1);
    expect(onEnd.mock.calls).toEqual([[error]]);
  });

  it.each(['return', 'end'] as const)('%s ends a pending call of next', async method => {
    const { stream, source, onEnd } = wrapped();
    await stream.next();
    await stream.next();
    const pending = stream.next();
    void stream[method](undefined);
    expect(await pending).toEqual(DONE);
    expect(source.return).toHaveBeenCalledTimes(1);
    expect(onEnd.mock.calls).toEqual([[undefined]]);
  });

  it('throw rejects with the error, reports it and ends the stream', async () => {
    const error = new Error('cancelled');
    const { stream, onEnd } = wrapped();
    await expect(stream.throw(error)).rejects.toBe(error);
    expect(await stream.next()).toEqual(DONE);
    expect(onEnd.mock.calls).toEqual([[error]]);
  });

  it('end passes its last value to a pending call of next', async () => {
    const { stream } = wrapped();
    await stream.next();
    await stream.next();
    const pending = stream.next();
    stream.end(99);
    expect(await pending).toEqual({ done: false, value: 99 });
    expect(await stream.next()).toEqual(DONE);
  });

  it('end keeps its last value for the next call of next, and return discards it', async () => {
    const { stream } = wrapped();
    stream.end(99);
    expect(await stream.next()).toEqual({ done: false, value: 99 });
    expect(await stream.next()).toEqual(DONE);
    const other = wrapped();
    other.stream.end(99);
    await other.stream.return(undefined);
    expect(await other.stream.next()).toEqual(DONE);
  });

  it("ignores an error of the source's return", async () => {
    const source = { ...createSource(), return: () => Promise.reject(new Error('busy')) };
    const stream = wrapAsyncIterator<number>(source, { next: () => source.next() });
    expect(await stream.return(undefined)).toEqual(DONE);
  });

  describe('takeNow', () => {
    function immediate(values: number[]) {
      const source = createSource();
      const stream = wrapAsyncIterator<number>(source, { next: () => source.next(), takeNow: () => values.shift() ?? null });
      return { stream, values };
    }

    it('returns the values that take no waiting, and then null', () => {
      const { stream } = immediate([10, 11]);
      expect([stream.takeNow(), stream.takeNow(), stream.takeNow()]).toEqual([10, 11, null]);
    });

    it('takes nothing while a call of next waits, because that call comes first', async () => {
      const { stream, values } = immediate([10]);
      const pending = stream.next();
      expect(stream.takeNow()).toBeNull();
      expect(values).toEqual([10]);
      await pending;
      expect(stream.takeNow()).toBe(10);
    });

    it('takes nothing after the end, nor before the last value that was given to end', async () => {
      const { stream } = immediate([10]);
      stream.end(99);
      expect(stream.takeNow()).toBeNull();
      expect(await stream.next()).toEqual({ done: false, value: 99 });
      expect(stream.takeNow()).toBeNull();
    });

    it('returns null if all values take waiting', () => {
      expect(wrapped().stream.takeNow()).toBeNull();
    });
  });
});
