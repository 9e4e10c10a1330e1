import { expect, it, vi } from 'vitest';
import { EventReader } from '../../../src/events/event-reader.ts';
import type { EventTable } from '../../../src/events/event-table.ts';
import type { StoredEvent } from '../../../src/events/stored-event.ts';
import { createLog } from '../../../src/log.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

const USAGE = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 };

function createEvent(seq: bigint, characters: number): StoredEvent {
  return {
    seq,
    id: seq,
    occurredAt: new Date(0),
    sessionId: 's',
    agentId: 'main',
    type: 'STATUS_CHANGED',
    payload: { from: 'ACTIVE', to: 'FAILED', reason: 'x'.repeat(characters), usage: USAGE, idleMs: 0 },
  };
}

/** Returns a reader of a log of `count` events, each with a text of `characters` characters. */
function createReader(count: number, characters: number, onEvent: (event: StoredEvent) => boolean = () => false): EventReader {
  const unexpected = () => Promise.reject(new Error('The reader must not call this.'));
  const table: EventTable = {
    async readNew(after, limit) {
      const length = Math.min(limit, count - Number(after));
      const events = Array.from({ length }, (_, index) => createEvent(after + BigInt(index + 1), characters));
      return { events, reached: after + BigInt(length) };
    },
    readingFor: () => ({ read: unexpected, readLinks: unexpected, withDescendants: unexpected }),
    expiredSeq: unexpected,
    close: async () => undefined,
  };
  return new EventReader({ table, log: createLog('silent'), isNeeded: () => true, onEvent, onExpired: () => undefined });
}

/** Returns a reader that has read the whole log. */
async function readAll(count: number, characters: number): Promise<EventReader> {
  const reader = createReader(count, characters);
  reader.advance(BigInt(count));
  await vi.waitFor(() => expect(reader.position).toBe(BigInt(count)), WAIT_OPTIONS);
  return reader;
}

/** The number of the newest events that the reader keeps in memory. */
function countKept(reader: EventReader): number {
  let kept = 0;
  while (BigInt(kept) <= reader.position && reader.recent(reader.position - BigInt(kept)) !== null) kept += 1;
  return kept - 1;
}

it('EventReader keeps between 4,096 and 8,192 of the newest events', async () => {
  const kept = countKept(await readAll(20_000, 20));
  expect(kept).toBeGreaterThanOrEqual(4_096);
  expect(kept).toBeLessThan(2 * 4_096);
});

it('EventReader keeps at most 16 MiB of events', async () => {
  const kept = countKept(await readAll(1_000, 100_000));
  expect(kept).toBeGreaterThan(10);
  expect(kept * 200_000).toBeLessThanOrEqual(16 * 1024 * 1024);
  expect(countKept(await readAll(3, 10_000_000))).toBe(0);
});

it('EventReader lets consumers run before the next event when onEvent asks for it', async () => {
  let seen = 0;
  let seenByConsumer = 0;
  const reader = createReader(10, 1, () => {
    seen += 1;
    if (seen === 4) {
      queueMicrotask(() => {
        seenByConsumer = seen;
      });
    }
    return seen === 4;
  });
  reader.advance(10n);
  await vi.waitFor(() => expect(reader.position).toBe(10n), WAIT_OPTIONS);
  expect(seenByConsumer).toBe(4);
  expect(seen).toBe(10);
});

it('EventReader drops the rest of a batch if it is moved while consumers run', async () => {
  const seen: bigint[] = [];
  const reader = createReader(10, 1, ({ seq }) => {
    seen.push(seq);
    if (seq === 4n) queueMicrotask(() => reader.moveTo(8n));
    return seq === 4n;
  });
  reader.advance(10n);
  await vi.waitFor(() => expect(reader.position).toBe(10n), WAIT_OPTIONS);
  expect(seen).toEqual([1n, 2n, 3n, 4n, 9n, 10n]);
});
