import { type GraphQLNamedType, getNamedType, isAbstractType, isInterfaceType, isObjectType, parse } from 'graphql';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LOCAL_VIEWER, type Viewer } from '../../../../src/modules/viewer/viewer.rules.ts';
import { createSchema } from '../../../../src/schema.ts';
import { createSharedExecution, type SharedExecution, shareKeyOf } from '../../../../src/server/live/shared-execution.ts';

const schema = createSchema();
/** The signal of a subscriber that does not end its subscription. */
const NEVER_ABORTED = new AbortController().signal;

afterEach(() => {
  vi.useRealTimers();
});

describe('resultFor', () => {
  const results = () => vi.fn(async () => ({ data: {} }));

  it('executes once for all subscribers with the same event and key', async () => {
    const shared = createSharedExecution();
    const execute = results();
    const event = {};
    const [first, second] = await Promise.all([
      shared.resultFor(event, 'a', NEVER_ABORTED, execute),
      shared.resultFor(event, 'a', NEVER_ABORTED, execute),
    ]);
    expect(second).toBe(first);
    expect(execute).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['another event, even if it is equal', {}, 'a'],
    ['another key', null, 'b'],
    ['no key', null, null],
  ])('executes again for %s', async (_what, other, key) => {
    const shared = createSharedExecution();
    const execute = results();
    const event = {};
    await shared.resultFor(event, 'a', NEVER_ABORTED, execute);
    await shared.resultFor(other ?? event, key, NEVER_ABORTED, execute);
    expect(execute).toHaveBeenCalledTimes(2);
  });

  it('executes again after 100 ms, and discards the result after that', async () => {
    vi.useFakeTimers();
    const shared = createSharedExecution(() => Date.now());
    const execute = results();
    const event = {};
    await shared.resultFor(event, 'a', NEVER_ABORTED, execute);
    vi.advanceTimersByTime(101);
    await shared.resultFor(event, 'a', NEVER_ABORTED, execute);
    expect(execute).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(400);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('resultFor while the execution is queued', () => {
  /** Requests a result whose execution calls `isWanted` when the test calls `begin`. */
  function request(shared: SharedExecution, event: object, signal: AbortSignal) {
    let begin: () => void = () => undefined;
    const started = new Promise<void>(resolve => {
      begin = resolve;
    });
    const result = shared.resultFor(event, 'a', signal, async isWanted => {
      await started;
      return { data: { isWanted: isWanted() } };
    });
    return { result, begin };
  }

  it('tells the execution that its result is wanted while one subscriber remains', async () => {
    const shared = createSharedExecution();
    const event = {};
    const abortController = new AbortController();
    const first = request(shared, event, abortController.signal);
    const second = request(shared, event, NEVER_ABORTED);
    abortController.abort();
    first.begin();
    expect(await second.result).toEqual({ data: { isWanted: true } });
  });

  it('tells the execution that its result is not wanted after all subscribers have ended, and executes again for a later one', async () => {
    const shared = createSharedExecution();
    const event = {};
    const abortController = new AbortController();
    const first = request(shared, event, abortController.signal);
    abortController.abort();
    first.begin();
    expect(await first.result).toEqual({ data: { isWanted: false } });
    const second = request(shared, event, NEVER_ABORTED);
    second.begin();
    expect(await second.result).toEqual({ data: { isWanted: true } });
  });
});

describe('shareKeyOf', () => {
  const document = parse(`subscription ($id: ID!, $after: String, $meta: Boolean!) {
    messageAdded(sessionId: $id, after: $after) { ...rest }
  }
  fragment rest on MessageAddedEvent { cursor session { metadata @include(if: $meta) } }`);
  const keyOf = (variableValues: Record<string, unknown>, viewer: Viewer = LOCAL_VIEWER) =>
    shareKeyOf({ schema, document, variableValues }, viewer);

  it('ignores variables that only select events', () => {
    expect(keyOf({ id: 'a', meta: true })).toBe(keyOf({ id: 'b', after: 'x', meta: true }));
  });

  it('differs for other documents and other values of variables in the selection, also absent and null', () => {
    const keys = [{ meta: true }, { meta: false }, {}, { meta: null }].map(values => keyOf({ id: 'a', ...values }));
    const other = shareKeyOf({ schema, document: parse('subscription { sessionEvents { cursor } }') }, LOCAL_VIEWER);
    expect(new Set([...keys, other]).size).toBe(5);
  });

  it('differs for viewers with other agents or scopes, and not for other identities', () => {
    const viewer: Viewer = { ...LOCAL_VIEWER, id: 'key:1', name: 'one', agentIds: ['a', 'b'] };
    const keys = [viewer, { ...viewer, agentIds: ['a'] }, { ...viewer, agentIds: null }, { ...viewer, scopes: ['READ'] as const }];
    expect(new Set(keys.map(other => keyOf({ meta: true }, other))).size).toBe(4);
    expect(keyOf({ meta: true }, { ...viewer, id: 'key:2', name: 'two', agentIds: ['b', 'a'] })).toBe(keyOf({ meta: true }, viewer));
  });
});

describe('the schema', () => {
  it("has no type that depends on the viewer's identity below Subscription", () => {
    const reached = new Set<GraphQLNamedType>();
    const reach = (type: GraphQLNamedType) => {
      if (reached.has(type)) return;
      reached.add(type);
      if (isObjectType(type) || isInterfaceType(type)) for (const field of Object.values(type.getFields())) reach(getNamedType(field.type));
      if (isAbstractType(type)) for (const possible of schema.getPossibleTypes(type)) reach(possible);
    };
    const root = schema.getSubscriptionType();
    if (!root) throw new Error('There are no subscriptions.');
    reach(root);
    const names = [...reached].map(({ name }) => name);
    expect(names).toContain('Session');
    expect(names.filter(name => ['Query', 'Mutation', 'Viewer', 'ApiKey', 'RateLimitState'].includes(name))).toEqual([]);
  });
});
