import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { yieldTurn } from '../../../../src/server/live/loop-turn.ts';

function work(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

/** A stream that works for this long, again and again, and notes each time in `log`. */
async function stream(name: string, log: string[], times: number, ms: number): Promise<void> {
  for (let left = times; left > 0; left -= 1) {
    const turn = yieldTurn();
    if (turn !== undefined) await turn;
    log.push(name);
    work(ms);
  }
}

describe('yieldTurn', () => {
  it('does not interrupt a stream that works for less than 20 ms', async () => {
    await nextTurn();
    expect(yieldTurn()).toBeUndefined();
    work(5);
    expect(yieldTurn()).toBeUndefined();
  });

  it('lets other work run after 20 ms, however many streams wait', async () => {
    await nextTurn();
    const log: string[] = [];
    let isOver = false;
    const others = async () => {
      for (; !isOver; await nextTurn()) log.push('other');
    };
    const other = others();
    await Promise.all(Array.from({ length: 30 }, (_, index) => stream(`${index}`, log, 1, 5)));
    isOver = true;
    await other;
    const longest = log
      .join(' ')
      .split('other')
      .map(part => part.trim().split(' ').length);
    // 20 ms are four pieces of work, and one more may begin just before the end. The first turn ends with the one that exceeds it.
    expect(Math.max(...longest)).toBeLessThanOrEqual(6);
    expect(new Set(log).size).toBe(31);
  });

  it('continues the streams in the order in which they began to wait', async () => {
    await nextTurn();
    const log: string[] = [];
    const names = Array.from({ length: 50 }, (_, index) => `${index}`);
    await Promise.all(names.map(name => stream(name, log, 2, 25)));
    // Each works longer than a turn. The first does not wait before its first piece of work, only before its second.
    expect(log).toEqual(['0', ...names, ...names.slice(1)]);
  });
});
