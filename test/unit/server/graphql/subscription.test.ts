import { buildSchema, type ExecutionResult, GraphQLError, parse } from 'graphql';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '../../../../src/log.ts';
import type { Span, Tracer } from '../../../../src/postgres/tracing.ts';
import { OPEN_ACCESS } from '../../../../src/server/auth/authenticate.ts';
import { createErrorModel } from '../../../../src/server/graphql/error-model.ts';
import { subscribeOperation } from '../../../../src/server/graphql/subscription.ts';
import { createEventLimit, type LimitEvents } from '../../../../src/server/live/event-limit.ts';
import { resumeCursorOf } from '../../../../src/server/live/event-result.ts';
import { createSharedExecution } from '../../../../src/server/live/shared-execution.ts';
import { createOperationWatch, type WatchedOperation } from '../../../../src/server/observe/operation-watch.ts';

const CONNECTION_REFUSED = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' });

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Subscribes to the events 1 and 2. Reading their session fails with the error that the test sets. */
async function subscribe(watch?: WatchedOperation) {
  const schema = buildSchema('type Query { a: Int } type Event { seq: Int! session: String } type Subscription { events: Event! }');
  let failure: Error | null = null;
  let reads = 0;
  const read = () => {
    reads += 1;
    if (failure !== null) throw failure;
    return 'the session';
  };
  async function* source() {
    yield { seq: 1n, session: read };
    yield { seq: 2n, session: read };
  }
  const events = schema.getSubscriptionType()?.getFields().events;
  Object.assign(events ?? {}, { subscribe: source, resolve: (event: { seq: bigint }) => ({ ...event, seq: Number(event.seq) }) });
  const abortController = new AbortController();
  const stream = await subscribeOperation(
    { schema, document: parse('subscription { events { seq session } }') },
    { requestId: 'r', signal: new AbortController().signal, access: OPEN_ACCESS, watch },
    { createContext: () => ({}), errors: createErrorModel(createLog('silent')), timeoutMs: 1_000, shared: createSharedExecution() },
    abortController.signal,
  );
  if (!('next' in stream)) throw new Error(JSON.stringify(stream));
  return {
    stream,
    abortController,
    fail(error: Error | null) {
      failure = error;
    },
    reads: () => reads,
  };
}

/** Returns the watch of a traced operation, and the list of the spans of its events that have ended. */
function createWatch() {
  const endedSpans: unknown[] = [];
  const eventSpan: Span = { traceId: 't', run: work => work(), startLinkedSpan: () => null, end: outcome => endedSpans.push(outcome) };
  const span: Span = { ...eventSpan, startLinkedSpan: () => eventSpan };
  const tracer: Tracer = { startServerSpan: () => span, isSampled: () => true, startChildSpan: () => eventSpan };
  return { endedSpans, watch: createOperationWatch([], tracer)({ requestId: 'r', transport: 'ws', headers: {} }) };
}

/** Returns an object that gets the value or the error of the promise as soon as it settles. */
function trackOutcome<Value>(promise: Promise<Value>) {
  const outcome: { value: Value | null; error: unknown } = { value: null, error: null };
  promise.then(
    value => {
      outcome.value = value;
    },
    error => {
      outcome.error = error;
    },
  );
  return outcome;
}

function resultOf(seq: number) {
  return { done: false, value: { data: { events: { seq, session: 'the session' } } } };
}

describe('an event whose fields cannot be resolved', () => {
  it('because the database is unreachable is delivered completely and once when the database is back', async () => {
    const { stream, fail } = await subscribe();
    fail(CONNECTION_REFUSED);
    const first = trackOutcome<IteratorResult<ExecutionResult>>(stream.next());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(first).toEqual({ value: null, error: null });
    fail(null);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(first.value).toEqual(resultOf(1));
    expect(await stream.next()).toEqual(resultOf(2));
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('ends the stream with SERVICE_UNAVAILABLE after a minute of retries, without a result for the event', async () => {
    const { stream, fail, reads } = await subscribe();
    fail(CONNECTION_REFUSED);
    const first = trackOutcome<IteratorResult<ExecutionResult>>(stream.next());
    await vi.advanceTimersByTimeAsync(59_000);
    expect(first).toEqual({ value: null, error: null });
    expect(reads()).toBeGreaterThan(20);
    expect(reads()).toBeLessThan(40);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(first.error).toBeInstanceOf(GraphQLError);
    expect(first.error).toMatchObject({ extensions: { code: 'SERVICE_UNAVAILABLE', retryable: true } });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('is not retried after the stream has ended', async () => {
    const { stream, abortController, fail, reads } = await subscribe();
    fail(CONNECTION_REFUSED);
    const first = stream.next();
    await vi.advanceTimersByTimeAsync(1_000);
    abortController.abort();
    expect(await first).toEqual({ done: true, value: undefined });
    const readsAtEnd = reads();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(reads()).toBe(readsAtEnd);
  });

  it.each([
    ['the stream ends', 1_000],
    ['the retries end', 70_000],
  ])('has a span that ends with SERVICE_UNAVAILABLE when %s', async (_case, abortAfterMs) => {
    const { watch, endedSpans } = createWatch();
    const { stream, abortController, fail } = await subscribe(watch);
    fail(CONNECTION_REFUSED);
    trackOutcome(stream.next());
    await vi.advanceTimersByTimeAsync(abortAfterMs);
    abortController.abort();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(endedSpans).toEqual([
      expect.objectContaining({ name: 'GraphQL Operation' }),
      expect.objectContaining({ name: 'subscription event', attributes: expect.objectContaining({ 'error.type': 'SERVICE_UNAVAILABLE' }) }),
    ]);
  });

  it('because of a permanent error is delivered with the error and the other fields, and the next event follows', async () => {
    const { stream, fail } = await subscribe();
    fail(new Error('permanent'));
    const { value } = await stream.next();
    expect(value).toMatchObject({
      data: { events: { seq: 1, session: null } },
      errors: [{ path: ['events', 'session'], extensions: { code: 'INTERNAL_SERVER_ERROR' } }],
    });
    expect(value === undefined ? null : resumeCursorOf(value)).toBe(Buffer.from('e1:1').toString('base64url'));
    fail(null);
    expect(await stream.next()).toEqual(resultOf(2));
  });
});

describe('a limit on concurrent event results', () => {
  /** Subscribes to one event, whose result takes 900 ms; the timeout is 1,000 ms. */
  async function subscribeSlowly(limitEvents: LimitEvents) {
    const schema = buildSchema('type Query { a: Int } type Event { session: String } type Subscription { events: Event! }');
    let started = 0;
    async function* source() {
      yield {
        session() {
          started += 1;
          return new Promise(resolve => setTimeout(resolve, 900, 'the session'));
        },
      };
    }
    const events = schema.getSubscriptionType()?.getFields().events;
    Object.assign(events ?? {}, { subscribe: source, resolve: (event: object) => event });
    const abortController = new AbortController();
    const stream = await subscribeOperation(
      { schema, document: parse('subscription { events { session } }') },
      { requestId: 'r', signal: abortController.signal, access: OPEN_ACCESS },
      {
        createContext: () => ({}),
        errors: createErrorModel(createLog('silent')),
        timeoutMs: 1_000,
        limitEvents,
        shared: createSharedExecution(),
      },
    );
    if (!('next' in stream)) throw new Error(JSON.stringify(stream));
    return { abortController, first: trackOutcome<IteratorResult<ExecutionResult>>(stream.next()), started: () => started };
  }
  const result = { done: false, value: { data: { events: { session: 'the session' } } } };

  it('makes further results wait, and their timeout starts when they do', async () => {
    const limitEvents = createEventLimit({ always: 2, most: 2, hasMemory: () => true });
    const streams = await Promise.all(Array.from({ length: 5 }, () => subscribeSlowly(limitEvents)));
    for (const completed of [2, 4, 5]) {
      await vi.advanceTimersByTimeAsync(900);
      expect(streams.map(({ first }) => first.value)).toEqual(streams.map((_stream, index) => (index < completed ? result : null)));
    }
  });

  it('skips a waiting result if its stream has ended', async () => {
    const limitEvents = createEventLimit({ always: 1, most: 1, hasMemory: () => true });
    const [one, two, three] = await Promise.all(Array.from({ length: 3 }, () => subscribeSlowly(limitEvents)));
    await vi.advanceTimersByTimeAsync(100);
    two?.abortController.abort();
    await vi.advanceTimersByTimeAsync(1_700);
    expect([one, two, three].map(stream => stream?.first.value)).toEqual([result, { done: true, value: undefined }, result]);
    expect(two?.started()).toBe(0);
  });
});
