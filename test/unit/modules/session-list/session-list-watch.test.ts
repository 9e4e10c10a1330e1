import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ListedSession } from '../../../../src/modules/session-list/session-list.loader.ts';
import { SessionListStream } from '../../../../src/modules/session-list/session-list-stream.service.ts';
import { SessionListWatch } from '../../../../src/modules/session-list/session-list-watch.service.ts';

function row(id: string, stamp: string): ListedSession {
  return { id, stamp, agentId: 'main', status: 'ACTIVE', title: id, messageCount: 0, updatedAt: '', lastActivityAt: '' };
}

/** Parses a list: `a1 b2` is the session a with the stamp 1, then b with the stamp 2. */
const rowsOf = (text: string) => text.split(' ').map(entry => row(entry.charAt(0), entry.slice(1)));

const watches: SessionListWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
  vi.useRealTimers();
});

/** A watch on a list that the test sets. */
function watchOn(text: string) {
  const list = { rows: rowsOf(text), total: 9, position: 1n, fails: false, failures: [] as unknown[], givenUp: vi.fn() };
  const read = vi.fn(async () => {
    if (list.fails) throw new Error('unreachable');
    return { rows: list.rows, total: list.total, changesInMs: null };
  });
  const watch = new SessionListWatch({
    scope: { sessions: null, agents: new Set(['main']) },
    read,
    limit: work => work(),
    position: () => list.position,
    onReadStart: () => undefined,
    onReadError: error => list.failures.push(error),
    onGiveUp: list.givenUp,
  });
  watches.push(watch);
  return { list, read, watch };
}

function eventOf(agentId: string) {
  return { seq: 2n, id: 2n, occurredAt: new Date(0), sessionId: 'a', agentId, type: 'RESTORED' as const, payload: {} };
}

describe('a watched list', () => {
  it('is read once for all concurrent callers', async () => {
    const { read, watch } = watchOn('a1');
    await Promise.all(Array.from({ length: 50 }, () => watch.reach(1n)));
    expect(read).toHaveBeenCalledTimes(1);
    await watch.reach(1n);
    expect(read).toHaveBeenCalledTimes(1);
  });

  it('is read again for a caller that needs a later position of the log', async () => {
    const { read, watch } = watchOn('a1');
    await watch.reach(1n);
    await watch.reach(5n);
    expect(read).toHaveBeenCalledTimes(2);
    expect(watch.state?.cursor).toBe(5n);
  });

  it('is not read again if all events since belong to other agents', async () => {
    const { list, read, watch } = watchOn('a1');
    await watch.reach(1n);
    expect(watch.notice(eventOf('other'))).toBe(false);
    list.position = 7n;
    await watch.reach(6n);
    expect(read).toHaveBeenCalledTimes(1);
    expect(watch.state?.cursor).toBe(7n);
  });

  it('gives a slow consumer the steps from its last state, and is not read while no consumer waits', async () => {
    const { list, read, watch } = watchOn('a1 b1 c1');
    await watch.reach(1n);
    const slow = new SessionListStream(watch, () => undefined);
    const fast = new SessionListStream(watch, () => undefined);
    for (const stream of [slow, fast]) expect((await stream.next()).value).toMatchObject({ total: 9, snapshot: list.rows, changes: [] });
    for (const text of ['b1 c1 d1', 'd2 b1 c1', 'e1 d2 b1']) {
      list.rows = rowsOf(text);
      expect(watch.notice(eventOf('main'))).toBe(true);
      expect((await fast.next()).value).toMatchObject({ snapshot: null });
    }
    expect(read).toHaveBeenCalledTimes(4);
    expect((await slow.next()).value).toMatchObject({
      snapshot: null,
      changes: [
        { type: 'REMOVED', id: 'c', node: null },
        { type: 'REMOVED', id: 'a' },
        { type: 'ADDED', id: 'e', toIndex: 0, node: row('e', '1') },
        { type: 'ADDED', id: 'd', toIndex: 1, node: row('d', '2') },
      ],
    });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    watch.notice(eventOf('main'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(read).toHaveBeenCalledTimes(4);
  });

  it('sends no event if the list is the same as the consumer’s', async () => {
    const { list, watch } = watchOn('a1');
    await watch.reach(1n);
    const stream = new SessionListStream(watch, () => undefined);
    await stream.next();
    const next = stream.next();
    watch.notice(eventOf('main'));
    await watch.reach(2n);
    list.total = 10;
    watch.notice(eventOf('main'));
    expect((await next).value).toEqual({ cursor: 2n, total: 10, snapshot: null, changes: [] });
  });

  it('rejects new callers while it cannot be read, and retries for existing consumers', async () => {
    const { list, watch } = watchOn('a1');
    list.fails = true;
    await expect(watch.reach(1n)).rejects.toThrow('unreachable');
    list.fails = false;
    await watch.reach(1n);
    const stream = new SessionListStream(watch, () => undefined);
    await stream.next();
    list.fails = true;
    const next = stream.next();
    watch.notice(eventOf('main'));
    await expect.poll(() => list.failures.length).toBe(2);
    list.rows = rowsOf('b1');
    list.fails = false;
    expect((await next).value).toMatchObject({ changes: [{ type: 'REMOVED' }, { type: 'ADDED' }] });
  });

  it('fails its consumers with the error after it could not be read for a minute, and is not read again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { list, read, watch } = watchOn('a1');
    const stream = new SessionListStream(watch, () => watch.close());
    list.givenUp.mockImplementation(error => stream.fail(error));
    const first = stream.next();
    watch.refresh();
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await first).value).toMatchObject({ snapshot: [{ id: 'a' }] });
    list.fails = true;
    let outcome: unknown = null;
    const next = stream.next().catch(error => {
      outcome = error;
    });
    watch.notice(eventOf('main'));
    await vi.advanceTimersByTimeAsync(55_000);
    expect([outcome, list.failures.length]).toEqual([null, 1]);
    await vi.advanceTimersByTimeAsync(20_000);
    await next;
    expect(outcome).toEqual(new Error('unreachable'));
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    read.mockClear();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(read).not.toHaveBeenCalled();
  });

  it('is read at most every 50 ms under constant writes, and at most a fifth of the time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { list, read, watch } = watchOn('a1');
    let readMs = 0;
    read.mockImplementation(async () => {
      await new Promise(resolve => setTimeout(resolve, readMs));
      list.total += 1;
      return { rows: list.rows, total: list.total, changesInMs: null };
    });
    const stream = new SessionListStream(watch, () => undefined);
    const consumer = (async () => {
      for await (const _event of stream);
    })();
    for (const [duration, maxReads] of [
      [0, 10_000 / 50],
      [200, 10_000 / 1_000],
    ] as const) {
      readMs = duration;
      read.mockClear();
      for (let millisecond = 0; millisecond < 10_000; millisecond += 5) {
        watch.notice(eventOf('main'));
        await vi.advanceTimersByTimeAsync(5);
      }
      expect(read.mock.calls.length).toBeLessThanOrEqual(maxReads + 1);
      expect(read.mock.calls.length).toBeGreaterThan(maxReads / 2);
    }
    await stream.return();
    await consumer;
  });

  it('ends a waiting consumer on return', async () => {
    const { watch } = watchOn('a1');
    await watch.reach(1n);
    const onEnd = vi.fn();
    const stream = new SessionListStream(watch, onEnd);
    await stream.next();
    const next = stream.next();
    await stream.return();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(onEnd).toHaveBeenCalledTimes(1);
  });
});
