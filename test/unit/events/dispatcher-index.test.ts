import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { EventDispatcher } from '../../../src/events/dispatcher.ts';
import type { EventMatch } from '../../../src/events/event-matcher.ts';
import { EventSubscription, type SubscriptionRegistry } from '../../../src/events/event-subscription.ts';
import type { StoredEvent } from '../../../src/events/stored-event.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

/** What the dispatcher does, without an index: asks every live subscription about every event. */
class ScanningDispatcher implements SubscriptionRegistry {
  readonly #live = new Set<EventSubscription>();

  add(subscription: EventSubscription): void {
    this.#live.add(subscription);
  }

  remove(subscription: EventSubscription): void {
    this.#live.delete(subscription);
  }

  dispatch(event: StoredEvent): void {
    for (const subscription of [...this.#live]) {
      subscription.followChild(event);
      subscription.push(event);
      subscription.unfollow(event);
    }
  }
}

const sessionId = fc.constantFrom('s1', 's2', 's3', 's4', 's5');
const agentId = fc.constantFrom('a', 'b', 'c');

const body = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('RESTORED' as const), payload: fc.constant({}) }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('MESSAGE_ADDED' as const), payload: fc.constant({ messageId: 'm', position: 1 }) }),
  },
  {
    weight: 2,
    arbitrary: sessionId.map(parentId => ({ type: 'CREATED' as const, payload: { parentId } })),
  },
  {
    weight: 1,
    arbitrary: sessionId.map(formerParentId => ({ type: 'UPDATED' as const, payload: { changed: [], formerParentId } })),
  },
  {
    weight: 1,
    arbitrary: sessionId.map(parentId => ({ type: 'DELETED' as const, payload: { permanent: true, parentId } })),
  },
);

const events = fc.array(fc.tuple(sessionId, agentId, body), { maxLength: 40 }).map(list =>
  list.map(([session, agent, typed], index): StoredEvent => {
    const seq = BigInt(index + 1);
    return { seq, id: seq, occurredAt: new Date(0), sessionId: session, agentId: agent, ...typed };
  }),
);

const match: fc.Arbitrary<EventMatch> = fc.record({
  sessionIds: fc.option(fc.uniqueArray(sessionId, { minLength: 1, maxLength: 3 })),
  agentIds: fc.option(fc.uniqueArray(agentId, { minLength: 1, maxLength: 2 })),
  types: fc.option(fc.uniqueArray(fc.constantFrom('RESTORED', 'MESSAGE_ADDED', 'CREATED', 'UPDATED', 'DELETED'), { minLength: 1 })),
  followChildren: fc.boolean(),
});

function subscribe(registry: SubscriptionRegistry, wanted: EventMatch): EventSubscription {
  return new EventSubscription({
    match: wanted,
    position: 0n,
    bufferSize: 100,
    backlog: {
      position: 0n,
      recent: () => null,
      read: () => Promise.reject(new Error('A live stream must not read the table.')),
      readLinks: () => Promise.reject(new Error('A live stream must not read the table.')),
      withDescendants: async ids => ids.map(id => ({ id, parentId: null })),
    },
    registry,
    onEnd: () => undefined,
    onReadError: () => undefined,
  });
}

/** The positions of the events that a live stream delivers for what `dispatch` does. */
async function deliveriesOf(streams: readonly EventSubscription[], dispatch: () => void): Promise<bigint[][]> {
  const first = streams.map(stream => stream.next());
  await vi.waitFor(() => expect(streams.every(stream => !stream.isBehind)).toBe(true), WAIT_OPTIONS);
  dispatch();
  const rest = streams.map(stream => {
    const seqs: bigint[] = [];
    for (let event = stream.takeNow(); event !== null; event = stream.takeNow()) seqs.push(event.seq);
    stream.end();
    return seqs;
  });
  return Promise.all(
    first.map(async (pending, index) => {
      const { done, value } = await pending;
      return [...(done === true ? [] : [value.seq]), ...(rest[index] ?? [])];
    }),
  );
}

describe('the index of EventDispatcher', () => {
  it('delivers the same events as a scan of all subscriptions, while sessions get and lose parents', async () => {
    let delivered = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(match, { minLength: 1, maxLength: 6 }), events, async (matches, log) => {
        const indexed = new EventDispatcher();
        const scanning = new ScanningDispatcher();
        const [actual, expected] = await Promise.all(
          [indexed, scanning].map(dispatcher =>
            deliveriesOf(
              matches.map(wanted => subscribe(dispatcher, wanted)),
              () => {
                for (const event of log) dispatcher.dispatch(event);
              },
            ),
          ),
        );
        expect(actual).toEqual(expected);
        delivered += expected?.flat().length ?? 0;
      }),
    );
    expect(delivered).toBeGreaterThan(100);
  });
});
