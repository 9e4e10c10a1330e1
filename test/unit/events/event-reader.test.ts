import { expect, it, vi } from 'vitest';
import { EventReader } from '../../../src/events/event-reader.ts';
import type { EventTable } from '../../../src/events/event-table.ts';
import type { StoredEvent } from '../../../src/events/stored-event.ts';
import { createLog } from '../../../src/log.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

const USAGE = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 };

/** A reader over a log of so many events, each with a text of so many characters, all of it handed on. */
async function readAll(number: number, characters: number): Promise<EventReader> {
  const event = (seq: bigint): StoredEvent => ({
    seq,
    id: seq,
    occurredAt: new Date(0),
    sessionId: 's',
    agentId: 'main',
    type: 'STATUS_CHANGED',
    payload: { from: 'ACTIVE', to: 'FAILED', reason: 'x'.repeat(characters), usage: USAGE, idleMs: 0 },
  });
  const refuse = () => Promise.reject(new Error('not asked for'));
  const table: EventTable = {
    async readNew(after, limit) {
      const count = Math.min(limit, number - Number(after));
      const events = Array.from({ length: count }, (_, index) => event(after + BigInt(index + 1)));
      return { events, reached: after + BigInt(count) };
    },
    readingFor: () => ({ read: refuse, readLinks: refuse, withDescendants: refuse }),
    expiredSeq: refuse,
    close: async () => undefined,
  };
  const reader = new EventReader({
    table,
    log: createLog('silent'),
    isNeeded: () => true,
    onEvent: () => undefined,
    onExpired: () => undefined,
  });
  reader.advance(BigInt(number));
  await vi.waitFor(() => expect(reader.position).toBe(BigInt(number)), WAIT_OPTIONS);
  return reader;
}

/** How many of the newest events it keeps. */
function keptOf(reader: EventReader): number {
  let kept = 0;
  while (BigInt(kept) <= reader.position && reader.recent(reader.position - BigInt(kept)) !== null) kept += 1;
  return kept - 1;
}

it('keeps thousands of the newest events, and no more than twice as many', async () => {
  const kept = keptOf(await readAll(20_000, 20));
  expect(kept).toBeGreaterThanOrEqual(4_096);
  expect(kept).toBeLessThan(2 * 4_096);
});

it('keeps no more of them than 16 MiB hold, however long their texts are', async () => {
  const kept = keptOf(await readAll(1_000, 100_000));
  expect(kept).toBeGreaterThan(10);
  expect(kept * 200_000).toBeLessThanOrEqual(16 * 1024 * 1024);
  expect(keptOf(await readAll(3, 10_000_000))).toBe(0);
});
