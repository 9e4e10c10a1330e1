import { Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { ExecutionResult } from 'graphql';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { wrapAsyncIterator } from '../../../../src/async-iterator.ts';
import { writeEventStream } from '../../../../src/server/live/event-stream.ts';

/** A response that keeps what is written to it. */
function createResponse(highWaterMark = 16_384) {
  const chunks: string[] = [];
  const reads: (() => void)[] = [];
  let isReading = true;
  const response = new Writable({
    decodeStrings: false,
    highWaterMark,
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      if (isReading) done();
      else reads.push(done);
    },
    writev(written, done) {
      chunks.push(written.map(({ chunk }) => String(chunk)).join(''));
      if (isReading) done();
      else reads.push(done);
    },
  });
  return {
    response,
    chunks,
    stopReading() {
      isReading = false;
    },
    read() {
      isReading = true;
      for (const done of reads.splice(0)) done();
    },
  };
}

/** An event stream whose subscription delivers no events. The test sets the cursor up to which all events are delivered. */
function silentStream(settledCursor: () => string | null) {
  const { response, chunks } = createResponse();
  const results = { next: () => new Promise<never>(() => undefined) };
  void writeEventStream(results, response, { heartbeatMs: 1_000, settledCursor });
  return { chunks, cancel: () => response.destroy() };
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
    stream.cancel();
  });
});

describe('an event stream', () => {
  const RESULTS: readonly ExecutionResult[] = [{ data: { a: 1 } }, { data: { a: 2 } }, { data: { a: 3 } }];
  const frames = RESULTS.map(result => `event: next\ndata: ${JSON.stringify(result)}\n\n`);

  /** A stream of these results, which are all available without waiting. */
  function availableResults() {
    const left = [...RESULTS];
    const returned = vi.fn();
    const source = { next: () => new Promise<never>(() => undefined), return: returned };
    const stream = wrapAsyncIterator<ExecutionResult>(source, { next: () => source.next(), takeNow: () => left.shift() ?? null });
    return { stream, left, returned };
  }

  it('sends results that are available at the same time in one write', async () => {
    const { response, chunks } = createResponse();
    void writeEventStream(availableResults().stream, response, { settledCursor: () => null });
    await setImmediate();
    expect(chunks).toEqual([expect.stringMatching(/^retry: /), frames.join('')]);
    response.destroy();
  });

  it('takes no further result until a slow client has read, and returns the results when it disconnects', async () => {
    const { response, chunks, stopReading, read } = createResponse(1);
    stopReading();
    const { stream, left, returned } = availableResults();
    void writeEventStream(stream, response, { settledCursor: () => null });
    await setImmediate();
    expect(left).toHaveLength(2);
    read();
    await setImmediate();
    expect(chunks.slice(1)).toEqual(frames);
    expect(returned).not.toHaveBeenCalled();
    response.destroy();
    await setImmediate();
    expect(returned).toHaveBeenCalledTimes(1);
  });

  it('cuts a client that reads nothing for the stall time while data waits', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const { response, stopReading } = createResponse(1);
    stopReading();
    void writeEventStream(availableResults().stream, response, { heartbeatMs: 1_000, stallMs: 5_000, settledCursor: () => null });
    vi.advanceTimersByTime(5_000);
    expect(response.destroyed).toBe(false);
    vi.advanceTimersByTime(2_000);
    expect(response.destroyed).toBe(true);
    vi.useRealTimers();
  });

  it.each([
    ['completes the subscription when the results end', {}, 'event: complete'],
    ['ends without completing when the server drains', { ending: AbortSignal.abort() }, null],
  ])('%s', async (_behaviour, options, end) => {
    const { response, chunks } = createResponse();
    async function* results() {
      yield* RESULTS;
    }
    await writeEventStream(results(), response, { settledCursor: () => null, ...options });
    expect(response.writableEnded).toBe(true);
    const text = chunks.join('');
    expect(text).toContain(frames.join(''));
    expect(text.includes('event: complete')).toBe(end !== null);
  });
});
