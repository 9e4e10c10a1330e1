import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeEventCursor, encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { makeKey } from '../security/keys.ts';

let app: TestApp;
let id: string;

beforeAll(async () => {
  app = await startTestApp();
});

beforeEach(async () => {
  id = await createSession();
});

interface EventData {
  readonly __typename: string;
  readonly cursor: string;
}

const FIELDS = `__typename cursor occurredAt sessionId agentId session { sessionId messageCount }
  ... on SessionUpdatedEvent { changed } ... on SessionStatusChangedEvent { from to reason usage { totalTokens } idleMs }
  ... on SessionDeletedEvent { permanent } ... on MessageAddedEvent { message { content } } ... on MessageDeletedEvent { messageId }`;
const EVENTS = `query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
  session(id: $id) { events(first: $first, after: $after, last: $last, before: $before) { nodes { ${FIELDS} } } } }`;

async function createSession(on = app): Promise<string> {
  const answer = await on.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation { createSession(input: {}) { session { sessionId } } }',
  );
  return answer.expectOk().createSession.session.sessionId;
}

async function mutate(mutation: string, variables: Record<string, unknown> = { id }): Promise<void> {
  (await app.gql(`mutation($id: ID!) { ${mutation} { __typename } }`, variables)).expectOk();
}

async function eventsOf(variables: Record<string, unknown>): Promise<readonly EventData[]> {
  const answer = await app.gql<{ session: { events: { nodes: readonly EventData[] } } }>(EVENTS, variables);
  return answer.expectOk().session.events.nodes;
}

describe('Session.events', () => {
  it('returns the same events as a subscription to the session, oldest first', async () => {
    const other = await createSession();
    const stream = await app.subscribe<{ sessionEvents: EventData }>(
      `subscription($filter: SessionEventFilter, $after: String) { sessionEvents(filter: $filter, after: $after) { ${FIELDS} } }`,
      { filter: { sessionIds: [id] }, after: encodeEventCursor(0n) },
    );
    await mutate('appendMessage(input: { sessionId: $id, message: { role: USER, content: "hello" } })');
    await mutate('updateSession(input: { id: $id, title: "Planning" })');
    await mutate('appendMessage(input: { sessionId: $id, message: { role: USER, content: "elsewhere" } })', { id: other });
    await mutate('endSession(input: { id: $id, status: FAILED, reason: "no idea" })');
    await mutate('deleteSession(input: { id: $id })');
    await mutate('restoreSession(input: { id: $id })');
    const events = await eventsOf({ id });
    expect(events.map(event => event.__typename)).toEqual([
      'SessionCreatedEvent',
      'MessageAddedEvent',
      'SessionUpdatedEvent',
      'SessionStatusChangedEvent',
      'SessionDeletedEvent',
      'SessionRestoredEvent',
    ]);
    const streamed: EventData[] = [];
    while (streamed.length < events.length) streamed.push((await stream.next()).sessionEvents);
    await stream.close();
    // `session` shows the state at delivery, which differs between the two.
    const withoutSession = (event: EventData) => ({ ...event, session: null });
    expect(events.map(withoutSession)).toEqual(streamed.map(withoutSession));
    expect(events.at(-1)).toMatchObject({ sessionId: id, agentId: 'main', session: { sessionId: id, messageCount: 1 } });
  });

  it('includes an event as soon as the write on another server has returned', async () => {
    const second = await app.startSecondServer();
    for (let number = 1; number <= 10; number += 1) {
      await mutate('appendMessage(input: { sessionId: $id, message: { role: USER, content: "hello" } })');
      const answer = await second.gql<{ session: { events: { totalCount: number; nodes: unknown[] } } }>(
        'query($id: ID!) { session(id: $id) { events { totalCount nodes { cursor } } } }',
        { id },
      );
      const { totalCount, nodes } = answer.expectOk().session.events;
      expect([totalCount, nodes.length]).toEqual([1 + number, 1 + number]);
    }
    await second.close();
  });

  it('exchanges cursors with subscriptions, including cursors of events of other sessions', async () => {
    const stream = await app.subscribe<{ sessionEvents: EventData }>('subscription { sessionEvents { __typename cursor } }');
    await mutate('updateSession(input: { id: $id, title: "one" })');
    await createSession();
    const cursor = (await stream.next()).sessionEvents.cursor;
    const otherCursor = (await stream.next()).sessionEvents.cursor;
    await mutate('updateSession(input: { id: $id, title: "two" })');
    await stream.close();
    const rest = await eventsOf({ id, after: cursor });
    expect(rest.map(event => event.__typename)).toEqual(['SessionUpdatedEvent']);
    expect(await eventsOf({ id, after: otherCursor })).toEqual(rest);
    expect((await eventsOf({ id, last: 1, before: otherCursor })).map(event => event.cursor)).toEqual([cursor]);
    const resumed = await app.subscribe('subscription($after: String) { sessionEvents(after: $after) { cursor } }', { after: otherCursor });
    expect(await resumed.next()).toEqual({ sessionEvents: { cursor: rest[0]?.cursor } });
    await resumed.close();
  });

  it('leaves events of agents that the viewer may not see out of pages and totalCount', async () => {
    const secured = await startTestApp();
    const sessionId = await createSession(secured);
    const write = 'insert into aria_engine.session_events (session_id, agent_id, type) values ($1, $2, $3)';
    for (const agentId of ['main', 'foreign', 'main']) await runSql(secured.databaseUrl, write, [sessionId, agentId, 'RESTORED']);
    const { headers } = await makeKey(secured, { scope: 'READ', agentIds: ['main'] });
    const answer = await secured.gql<{ session: { events: { totalCount: number; nodes: { agentId: string }[] } } }>(
      'query($id: ID!) { session(id: $id) { events { totalCount nodes { agentId } } } }',
      { id: sessionId },
      { headers },
    );
    expect(answer.expectOk().session.events).toEqual({
      totalCount: 3,
      nodes: [{ agentId: 'main' }, { agentId: 'main' }, { agentId: 'main' }],
    });
  });

  it('leaves events whose type this server does not know out of pages and totalCount', async () => {
    await runSql(app.databaseUrl, "insert into aria_engine.session_events (session_id, agent_id, type) values ($1, 'main', 'COMPACTED')", [
      id,
    ]);
    const answer = await app.gql<{ session: { events: object } }>(
      'query($id: ID!) { session(id: $id) { events { totalCount nodes { __typename } } } }',
      { id },
    );
    expect(answer.expectOk().session.events).toEqual({ totalCount: 1, nodes: [{ __typename: 'SessionCreatedEvent' }] });
  });
});

describe('cursors of Session.events', () => {
  it('return BAD_CURSOR when they are malformed or beyond the end of the log', async () => {
    for (const cursor of ['', 'nonsense', 'ZTE6MDE', encodeEventCursor(2n ** 62n)]) {
      for (const [field, size] of [
        ['after', 'first'],
        ['before', 'last'],
      ] as const) {
        const { extensions } = (await app.gql(EVENTS, { id, [field]: cursor, [size]: 3 })).expectError('BAD_CURSOR');
        expect(extensions.details).toEqual({ field });
      }
    }
  });

  it('return CURSOR_EXPIRED as after, but not as before, when the log has been trimmed past them, even if the session has no events', async () => {
    const trimmed = await startTestApp();
    await runSql(trimmed.databaseUrl, 'update aria_engine.event_log_state set last_seq = 20, expired_seq = 10');
    const sessionId = await createSession(trimmed);
    const eventsOfSession = (after: bigint, field = 'after') => trimmed.gql(EVENTS, { id: sessionId, [field]: encodeEventCursor(after) });
    (await eventsOfSession(9n)).expectError('CURSOR_EXPIRED');
    (await eventsOfSession(10n)).expectOk();
    expect((await eventsOfSession(9n, 'before')).expectOk()).toEqual({ session: { events: { nodes: [] } } });
    await runSql(trimmed.databaseUrl, 'delete from aria_engine.session_events');
    (await eventsOfSession(9n)).expectError('CURSOR_EXPIRED');
  });

  it('encode the position of the event in the log of all sessions', async () => {
    const [created] = await eventsOf({ id });
    const marker = (await eventsOf({ id: await createSession() }))[0];
    expect(decodeEventCursor(marker?.cursor ?? '')).toBeGreaterThan(decodeEventCursor(created?.cursor ?? '') ?? -1n);
  });
});
