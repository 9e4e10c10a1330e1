import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEventStreamSource } from '../../../../src/server/live/event-stream.ts';

/** An event stream whose subscription delivers no events. The test sets the cursor up to which all events are delivered. */
function silentStream(settledCursor: () => string | null) {
  const chunks: string[] = [];
  const results = { next: () => new Promise<never>(() => undefined) };
  const client = { isFull: () => false, cut: () => undefined };
  const body = createEventStreamSource(results, { heartbeatMs: 1_000, client, settledCursor });
  body.start({ enqueue: chunk => chunks.push(Buffer.from(chunk).toString()), close: () => undefined });
  return { chunks, cancel: () => body.cancel() };
}

describe('an event stream without events', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sends its start cursor, and with a heartbeat the new cursor if the log has advanced', async () => {
    vi.useFakeTimers();
    let cursor: string | null = 'c7';
    const stream = silentStream(() => cursor);
    expect(stream.chunks.splice(0)).toEqual([expect.stringMatching(/^retry: \d+\nid: c7\n\n$/)]);
    vi.advanceTimersByTime(1_000);
    expect(stream.chunks.splice(0)).toEqual([':\n\n']);
    cursor = 'c9';
    vi.advanceTimersByTime(1_000);
    expect(stream.chunks.splice(0)).toEqual([':\nid: c9\n\n']);
    cursor = null;
    vi.advanceTimersByTime(1_000);
    expect(stream.chunks.splice(0)).toEqual([':\n\n']);
    await stream.cancel();
  });
});
