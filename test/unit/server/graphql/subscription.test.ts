import { buildSchema, type ExecutionResult, GraphQLError, parse } from 'graphql';
import pLimit, { type LimitFunction } from 'p-limit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '../../../../src/log.ts';
import { OPEN_ACCESS } from '../../../../src/server/auth/authenticate.ts';
import { createErrorModel } from '../../../../src/server/graphql/error-model.ts';
import { subscribeOperation } from '../../../../src/server/graphql/subscription.ts';
import { resumeCursorOf } from '../../../../src/server/live/event-result.ts';
import { createSharedExecution } from '../../../../src/server/live/shared-execution.ts';

const AWAY = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' });

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** A subscription to events 1 and 2, whose session can be read or not as the test says. */
async function subscribe() {
  const schema = buildSchema('type Query { a: Int } type Event { seq: Int! session: String } type Subscription { events: Event! }');
  let failure: Error | null = null;
  let answers = 0;
  const read = () => {
    answers += 1;
    if (failure !== null) throw failure;
    return 'the session';
  };
  async function* source() {
    yield { seq: 1n, session: read };
    yield { seq: 2n, session: read };
  }
  const events = schema.getSubscriptionType()?.getFields().events;
  Object.assign(events ?? {}, { subscribe: source, resolve: (event: { seq: bigint }) => ({ ...event, seq: Number(event.seq) }) });
  const ending = new AbortController();
  const stream = await subscribeOperation(
    { schema, document: parse('subscription { events { seq session } }') },
    { requestId: 'r', signal: new AbortController().signal, access: OPEN_ACCESS },
    { createContext: () => ({}), errors: createErrorModel(createLog('silent')), timeoutMs: 1_000, shared: createSharedExecution() },
    ending.signal,
  );
  if (!('next' in stream)) throw new Error(JSON.stringify(stream));
  return {
    stream,
    ending,
    fail(error: Error | null) {
      failure = error;
    },
    answers: () => answers,
  };
}

/** What a promise has come to so far. */
function watched<Value>(promise: Promise<Value>) {
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

function whole(seq: number) {
  return { done: false, value: { data: { events: { seq, session: 'the session' } } } };
}

describe('an event that cannot be answered', () => {
  it('while the database is away comes whole once it is back, and once only', async () => {
    const { stream, fail } = await subscribe();
    fail(AWAY);
    const first = watched<IteratorResult<ExecutionResult>>(stream.next());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(first).toEqual({ value: null, error: null });
    fail(null);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(first.value).toEqual(whole(1));
    expect(await stream.next()).toEqual(whole(2));
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('ends the stream after a minute: no result has its cursor', async () => {
    const { stream, fail, answers } = await subscribe();
    fail(AWAY);
    const first = watched<IteratorResult<ExecutionResult>>(stream.next());
    await vi.advanceTimersByTimeAsync(59_000);
    expect(first).toEqual({ value: null, error: null });
    expect(answers()).toBeGreaterThan(20);
    expect(answers()).toBeLessThan(40);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(first.error).toBeInstanceOf(GraphQLError);
    expect(first.error).toMatchObject({ extensions: { code: 'SERVICE_UNAVAILABLE', retryable: true } });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('is not tried for a stream that has ended', async () => {
    const { stream, ending, fail, answers } = await subscribe();
    fail(AWAY);
    const first = stream.next();
    await vi.advanceTimersByTimeAsync(1_000);
    ending.abort();
    expect(await first).toEqual({ done: true, value: undefined });
    const tried = answers();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(answers()).toBe(tried);
  });

  it('for a reason that stays is told with what could be read, and passed', async () => {
    const { stream, fail } = await subscribe();
    fail(new Error('a fault'));
    const { value } = await stream.next();
    expect(value).toMatchObject({
      data: { events: { seq: 1, session: null } },
      errors: [{ path: ['events', 'session'], extensions: { code: 'INTERNAL_SERVER_ERROR' } }],
    });
    expect(value === undefined ? null : resumeCursorOf(value)).toBe(Buffer.from('e1:1').toString('base64url'));
    fail(null);
    expect(await stream.next()).toEqual(whole(2));
  });
});

describe('answers to events, where so many are made at once', () => {
  /** A stream of one event, whose answer takes 900 of the 1,000 ms it may take. */
  async function subscribeSlowly(limitEvents: LimitFunction) {
    const schema = buildSchema('type Query { a: Int } type Event { session: String } type Subscription { events: Event! }');
    let begun = 0;
    async function* source() {
      yield {
        session() {
          begun += 1;
          return new Promise(resolve => setTimeout(resolve, 900, 'the session'));
        },
      };
    }
    const events = schema.getSubscriptionType()?.getFields().events;
    Object.assign(events ?? {}, { subscribe: source, resolve: (event: object) => event });
    const leaving = new AbortController();
    const stream = await subscribeOperation(
      { schema, document: parse('subscription { events { session } }') },
      { requestId: 'r', signal: leaving.signal, access: OPEN_ACCESS },
      {
        createContext: () => ({}),
        errors: createErrorModel(createLog('silent')),
        timeoutMs: 1_000,
        limitEvents,
        shared: createSharedExecution(),
      },
    );
    if (!('next' in stream)) throw new Error(JSON.stringify(stream));
    return { leaving, first: watched<IteratorResult<ExecutionResult>>(stream.next()), begun: () => begun };
  }
  const answer = { done: false, value: { data: { events: { session: 'the session' } } } };

  it('the others wait their turn, and their time begins with it', async () => {
    const limitEvents = pLimit(2);
    const streams = await Promise.all(Array.from({ length: 5 }, () => subscribeSlowly(limitEvents)));
    for (const come of [2, 4, 5]) {
      await vi.advanceTimersByTimeAsync(900);
      expect(streams.map(({ first }) => first.value)).toEqual(streams.map((_stream, index) => (index < come ? answer : null)));
    }
  });

  it('a stream that has ended when its turn comes is passed over', async () => {
    const limitEvents = pLimit(1);
    const [one, two, three] = await Promise.all(Array.from({ length: 3 }, () => subscribeSlowly(limitEvents)));
    await vi.advanceTimersByTimeAsync(100);
    two?.leaving.abort();
    await vi.advanceTimersByTimeAsync(1_700);
    expect([one, two, three].map(stream => stream?.first.value)).toEqual([answer, { done: true, value: undefined }, answer]);
    expect(two?.begun()).toBe(0);
  });
});
