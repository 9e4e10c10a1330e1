import { describe, expect, it, vi } from 'vitest';
import type { EventBacklog } from '../../../src/events/catch-up-reader.ts';
import { EventDispatcher } from '../../../src/events/dispatcher.ts';
import { EventSubscription } from '../../../src/events/event-subscription.ts';
import type { StoredEvent } from '../../../src/events/stored-event.ts';

// Retries follow each other without a pause.
vi.mock('node:timers/promises', () => ({ setTimeout: () => Promise.resolve() }));

const FIRST: StoredEvent = { seq: 1n, id: 1n, occurredAt: new Date(0), sessionId: 's', agentId: 'main', type: 'RESTORED', payload: {} };

/** A stream whose reads fail with these SQLSTATE codes, then succeed. */
function streamFailingWith(codes: readonly string[]): EventSubscription {
  const remaining = [...codes];
  const backlog: EventBacklog = {
    position: 1n,
    recent: () => null,
    async read({ through }) {
      const code = remaining.shift();
      if (code !== undefined) throw Object.assign(new Error('The statement failed.'), { code });
      return { events: [FIRST], reached: through };
    },
    readLinks: async ({ through }) => ({ events: [], reached: through }),
    withDescendants: async () => [],
  };
  return new EventSubscription({
    match: { sessionIds: null, agentIds: null, types: null, followChildren: false },
    position: 0n,
    bufferSize: 4,
    backlog,
    registry: new EventDispatcher(),
    onEnd: () => undefined,
    onReadError: () => undefined,
  });
}

describe('EventSubscription', () => {
  it.each([
    ['08006', 'a lost connection'],
    ['53100', 'a full disk'],
    ['53200', 'too little memory'],
    ['57P01', 'a shutdown'],
  ])('waits while Postgres fails with %s, %s', async code => {
    const stream = streamFailingWith(Array.from({ length: 10 }, () => code));
    await expect(stream.next()).resolves.toEqual({ done: false, value: FIRST });
  });

  it('fails with SERVICE_UNAVAILABLE after five rejected statements in a row', async () => {
    await expect(streamFailingWith(Array.from({ length: 4 }, () => '42501')).next()).resolves.toEqual({ done: false, value: FIRST });
    const rejected = streamFailingWith(Array.from({ length: 5 }, () => '42501'));
    await expect(rejected.next()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });
});
