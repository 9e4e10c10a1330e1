import { type GraphQLNamedType, getNamedType, isAbstractType, isInterfaceType, isObjectType, parse } from 'graphql';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LOCAL_VIEWER, type Viewer } from '../../../../src/modules/viewer/viewer.rules.ts';
import { createSchema } from '../../../../src/schema.ts';
import { createSharedExecution, type SharedExecution, shareKeyOf } from '../../../../src/server/live/shared-execution.ts';

const schema = createSchema();
/** Of a subscriber that does not leave. */
const STAYS = new AbortController().signal;

afterEach(() => {
  vi.useRealTimers();
});

describe('a result', () => {
  const results = () => vi.fn(async () => ({ data: {} }));

  it('is made once for all who get the same event and have the same key', async () => {
    const shared = createSharedExecution();
    const execute = results();
    const event = {};
    const [first, second] = await Promise.all([shared.resultFor(event, 'a', STAYS, execute), shared.resultFor(event, 'a', STAYS, execute)]);
    expect(second).toBe(first);
    expect(execute).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['another event, though it be equal', {}, 'a'],
    ['another key', null, 'b'],
    ['no key', null, null],
  ])('is made anew for %s', async (_what, other, key) => {
    const shared = createSharedExecution();
    const execute = results();
    const event = {};
    await shared.resultFor(event, 'a', STAYS, execute);
    await shared.resultFor(other ?? event, key, STAYS, execute);
    expect(execute).toHaveBeenCalledTimes(2);
  });

  it('is made anew for whoever comes later than a tenth of a second, and not kept', async () => {
    vi.useFakeTimers();
    const shared = createSharedExecution(() => Date.now());
    const execute = results();
    const event = {};
    await shared.resultFor(event, 'a', STAYS, execute);
    vi.advanceTimersByTime(101);
    await shared.resultFor(event, 'a', STAYS, execute);
    expect(execute).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(400);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a result that has to wait for its turn', () => {
  /** Asks for a result; whether it is wanted is asked when the test says so. */
  function ask(shared: SharedExecution, event: object, left: AbortSignal) {
    let begin: () => void = () => undefined;
    const turn = new Promise<void>(resolve => {
      begin = resolve;
    });
    const result = shared.resultFor(event, 'a', left, async isWanted => {
      await turn;
      return { data: { isWanted: isWanted() } };
    });
    return { result, begin };
  }

  it('is wanted while one of those who share it is there', async () => {
    const shared = createSharedExecution();
    const event = {};
    const leaving = new AbortController();
    const first = ask(shared, event, leaving.signal);
    const second = ask(shared, event, STAYS);
    leaving.abort();
    first.begin();
    expect(await second.result).toEqual({ data: { isWanted: true } });
  });

  it('is not wanted once all have left, and is made anew for whoever comes then', async () => {
    const shared = createSharedExecution();
    const event = {};
    const leaving = new AbortController();
    const first = ask(shared, event, leaving.signal);
    leaving.abort();
    first.begin();
    expect(await first.result).toEqual({ data: { isWanted: false } });
    const second = ask(shared, event, STAYS);
    second.begin();
    expect(await second.result).toEqual({ data: { isWanted: true } });
  });
});

describe('the key of an operation', () => {
  const document = parse(`subscription ($id: ID!, $after: String, $meta: Boolean!) {
    messageAdded(sessionId: $id, after: $after) { ...rest }
  }
  fragment rest on MessageAddedEvent { cursor session { metadata @include(if: $meta) } }`);
  const keyOf = (variableValues: Record<string, unknown>, viewer: Viewer = LOCAL_VIEWER) =>
    shareKeyOf({ schema, document, variableValues }, viewer);

  it('does not tell apart what only chooses the events', () => {
    expect(keyOf({ id: 'a', meta: true })).toBe(keyOf({ id: 'b', after: 'x', meta: true }));
  });

  it('tells apart documents, and variables within the answer, absent and null too', () => {
    const keys = [{ meta: true }, { meta: false }, {}, { meta: null }].map(values => keyOf({ id: 'a', ...values }));
    const other = shareKeyOf({ schema, document: parse('subscription { sessionEvents { cursor } }') }, LOCAL_VIEWER);
    expect(new Set([...keys, other]).size).toBe(5);
  });

  it('tells apart viewers by what they may see, not by who they are', () => {
    const viewer: Viewer = { ...LOCAL_VIEWER, id: 'key:1', name: 'one', agentIds: ['a', 'b'] };
    const keys = [viewer, { ...viewer, agentIds: ['a'] }, { ...viewer, agentIds: null }, { ...viewer, scopes: ['READ'] as const }];
    expect(new Set(keys.map(other => keyOf({ meta: true }, other))).size).toBe(4);
    expect(keyOf({ meta: true }, { ...viewer, id: 'key:2', name: 'two', agentIds: ['b', 'a'] })).toBe(keyOf({ meta: true }, viewer));
  });
});

describe('what sharing takes for granted of the schema', () => {
  it('nothing within a subscription tells who the viewer is', () => {
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
