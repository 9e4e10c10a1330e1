import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { createEventLimit } from '../../../../src/server/live/event-limit.ts';

describe('createEventLimit', () => {
  /** Starts the given number of executions. `finish` ends the oldest one that runs. */
  function startMany(number: number, hasMemory: () => boolean) {
    const limit = createEventLimit({ always: 2, most: 4, hasMemory });
    const running: (() => void)[] = [];
    let started = 0;
    const work = () => {
      started += 1;
      return new Promise<void>(resolve => running.push(resolve));
    };
    for (let count = 0; count < number; count += 1) void limit(work);
    return {
      limit,
      started: () => started,
      async finish() {
        running.shift()?.();
        await setImmediate();
      },
    };
  }

  it('runs the larger number at the same time while there is memory', async () => {
    const { started, finish } = startMany(7, () => true);
    expect(started()).toBe(4);
    await finish();
    expect(started()).toBe(5);
  });

  it('runs the smaller number while memory is short, and more when it is not any more', async () => {
    let hasMemory = false;
    const { started, finish } = startMany(7, () => hasMemory);
    expect(started()).toBe(2);
    await finish();
    expect(started()).toBe(3);
    hasMemory = true;
    await finish();
    expect(started()).toBe(6);
  });

  it('returns results that take no waiting immediately, and starts the rest of the queue after them', async () => {
    const { limit, finish } = startMany(4, () => true);
    const first = vi.fn(() => 'first');
    const queued = [limit(first), limit(() => 'second')];
    expect(first).not.toHaveBeenCalled();
    await finish();
    expect(await Promise.all(queued)).toEqual(['first', 'second']);
    expect(limit(() => 'third')).toBe('third');
  });

  it('starts waiting work after work that fails', async () => {
    const limit = createEventLimit({ always: 1, most: 1, hasMemory: () => true });
    const failed = limit(() => Promise.reject(new Error('failed')));
    const next = limit(() => 'next');
    await expect(failed).rejects.toThrow('failed');
    expect(await next).toBe('next');
    const thrown = () => {
      throw new Error('thrown');
    };
    expect(() => limit(thrown)).toThrow('thrown');
    expect(limit(() => 'last')).toBe('last');
  });
});
