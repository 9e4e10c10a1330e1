import { describe, expect, it, vi } from 'vitest';
import type { EventBacklog } from '../../../src/events/catch-up-reader.ts';
import { EventDispatcher } from '../../../src/events/dispatcher.ts';
import type { EventMatch } from '../../../src/events/event-matcher.ts';
import { EventSubscription } from '../../../src/events/event-subscription.ts';
import type { StoredEvent } from '../../../src/events/stored-event.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

const event = (seq: bigint, sessionId: string, agentId = 'main'): StoredEvent => ({
  seq,
  id: seq,
  occurredAt: new Date(0),
  sessionId,
  agentId,
  type: 'RESTORED',
  payload: {},
});

/** The source of a log from which no event has been dispatched yet. */
function emptySource(read: EventBacklog['read'] = () => Promise.reject(new Error('The table must not be read.'))): EventBacklog {
  return {
    position: 0n,
    recent: () => null,
    read,
    readLinks: async ({ through }) => ({ events: [], reached: through }),
    withDescendants: async ids => ids.map(id => ({ id, parentId: null })),
  };
}

function subscribe(dispatcher: EventDispatcher, match: Partial<EventMatch>, source = emptySource()) {
  const stream = new EventSubscription({
    match: { sessionIds: null, agentIds: null, types: null, followChildren: false, ...match },
    position: 0n,
    bufferSize: 4,
    backlog: source,
    registry: dispatcher,
    onEnd: () => undefined,
    onReadError: () => undefined,
  });
  return { stream, push: vi.spyOn(stream, 'push') };
}

/** Makes the stream live. Returns its pending `next` in a list, because a returned promise would be awaited. */
async function makeLive(stream: EventSubscription): Promise<Promise<IteratorResult<StoredEvent>>[]> {
  const pending = stream.next();
  await vi.waitFor(() => expect(stream.isBehind).toBe(false), WAIT_OPTIONS);
  return [pending];
}

describe('EventDispatcher', () => {
  it('passes an event only to the subscriptions registered for it', async () => {
    const dispatcher = new EventDispatcher();
    const matching = subscribe(dispatcher, { sessionIds: ['s1', 's2'] });
    const others = Array.from({ length: 100 }, (_, index) => subscribe(dispatcher, { sessionIds: [`other-${index}`] }));
    const agent = subscribe(dispatcher, { agentIds: ['a'] });
    const all = subscribe(dispatcher, {});
    await Promise.all([matching, ...others, agent, all].map(({ stream }) => makeLive(stream)));

    dispatcher.dispatch(event(1n, 's1', 'b'));
    expect(matching.push).toHaveBeenCalledTimes(1);
    expect(all.push).toHaveBeenCalledTimes(1);
    expect(agent.push).not.toHaveBeenCalled();
    for (const { push } of others) expect(push).not.toHaveBeenCalled();

    dispatcher.dispatch(event(2n, 's3', 'a'));
    expect(agent.push).toHaveBeenCalledTimes(1);
    expect(matching.push).toHaveBeenCalledTimes(1);
  });

  it('reports that consumers must run when the buffer of a stream has become half full', async () => {
    const dispatcher = new EventDispatcher();
    const { stream } = subscribe(dispatcher, {});
    await makeLive(stream);
    // The first event goes to the pending `next`.
    expect([1n, 2n, 3n, 4n].map(seq => dispatcher.dispatch(event(seq, 's')))).toEqual([false, false, true, false]);
  });

  it('stops passing events to a stream that has ended or fallen behind', async () => {
    const dispatcher = new EventDispatcher();
    const ended = subscribe(dispatcher, { sessionIds: ['s'] });
    const slow = subscribe(dispatcher, {});
    await Promise.all([makeLive(ended.stream), makeLive(slow.stream)]);
    await ended.stream.return();
    for (let seq = 1n; seq <= 10n; seq += 1n) dispatcher.dispatch(event(seq, 's'));
    expect(ended.push).not.toHaveBeenCalled();
    // The first event goes to the pending `next`, four fill the buffer, and the sixth overflows it.
    expect(slow.push).toHaveBeenCalledTimes(6);
    expect(slow.stream.isBehind).toBe(true);
    expect(slow.stream.buffered).toBe(0);
  });
});

describe('EventSubscription', () => {
  it('reads the table from the first buffered event on after it has fallen behind', async () => {
    const dispatcher = new EventDispatcher();
    const ranges: bigint[] = [];
    const log = Array.from({ length: 10 }, (_, index) => event(BigInt(index + 1), 's'));
    let position = 0n;
    const source: EventBacklog = {
      ...emptySource(async ({ after, through, limit }) => {
        ranges.push(after);
        const events = log.filter(({ seq }) => seq > after && seq <= through).slice(0, limit);
        return { events, reached: events.at(-1)?.seq ?? through };
      }),
      get position() {
        return position;
      },
    };
    const { stream } = subscribe(dispatcher, {}, source);
    const [first] = await makeLive(stream);
    for (const logged of log) {
      position = logged.seq;
      dispatcher.dispatch(logged);
    }
    expect((await first)?.value).toBe(log[0]);
    for (const logged of log.slice(1)) expect((await stream.next()).value).toBe(logged);
    expect(ranges[0]).toBe(1n);
  });

  it.each([true, false])('skips millions of events of other sessions in a few reads (followChildren: %s)', async followChildren => {
    const end = 20_000_000n;
    const read = vi.fn<EventBacklog['read']>(async ({ through }) => ({ events: [], reached: through }));
    const dispatcher = new EventDispatcher();
    const { stream } = subscribe(dispatcher, { sessionIds: ['a'], followChildren }, { ...emptySource(read), position: end });
    const next = stream.next();
    await vi.waitUntil(() => !stream.isBehind, WAIT_OPTIONS);
    expect(read.mock.calls.at(-1)?.[0].through).toBe(end);
    expect(read.mock.calls.length).toBeLessThan(40);
    stream.end();
    expect((await next).done).toBe(true);
  });

  it('has a settledSeq only while no event is waiting for the consumer', async () => {
    const dispatcher = new EventDispatcher();
    let position = 0n;
    const { stream } = subscribe(
      dispatcher,
      { sessionIds: ['s'] },
      {
        ...emptySource(),
        get position() {
          return position;
        },
      },
    );
    const dispatch = (seq: bigint, sessionId: string) => {
      position = seq;
      dispatcher.dispatch(event(seq, sessionId));
    };
    expect(stream.settledSeq).toBe(0n);
    const [first] = await makeLive(stream);
    dispatch(1n, 'other');
    expect(stream.settledSeq).toBe(1n);
    dispatch(2n, 's');
    dispatch(3n, 's');
    dispatch(4n, 'other');
    expect((await first)?.value).toMatchObject({ seq: 2n });
    expect(stream.settledSeq).toBeNull();
    expect((await stream.next()).value).toMatchObject({ seq: 3n });
    expect(stream.settledSeq).toBeNull();
    const last = stream.next();
    expect(stream.settledSeq).toBe(4n);
    stream.end();
    expect((await last).done).toBe(true);
    expect(stream.settledSeq).toBeNull();
  });

  it('delivers its buffered events before it fails', async () => {
    const dispatcher = new EventDispatcher();
    const { stream } = subscribe(dispatcher, {});
    const [first] = await makeLive(stream);
    dispatcher.dispatch(event(1n, 's'));
    dispatcher.dispatch(event(2n, 's'));
    stream.fail(new Error('failed'));
    expect((await first)?.value).toMatchObject({ seq: 1n });
    expect((await stream.next()).value).toMatchObject({ seq: 2n });
    await expect(stream.next()).rejects.toThrow('failed');
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });
});
