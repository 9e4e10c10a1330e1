import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { decodeEventCursor, encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey } from '../security/keys.ts';
import { execute } from '../session-filter/stored-session.ts';

let app: TestApp;
let id: string;

beforeAll(async () => {
  app = await startTestApp();
});

beforeEach(async () => {
  id = await createSession();
});

interface ToldEvent {
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

async function change(mutation: string, variables: Record<string, unknown> = { id }): Promise<void> {
  (await app.gql(`mutation($id: ID!) { ${mutation} { __typename } }`, variables)).expectOk();
}

async function eventsOf(variables: Record<string, unknown>): Promise<readonly ToldEvent[]> {
  const answer = await app.gql<{ session: { events: { nodes: readonly ToldEvent[] } } }>(EVENTS, variables);
  return answer.expectOk().session.events.nodes;
}

describe('Session.events', () => {
  it('gives the events of the session as a subscription does, oldest first', async () => {
    const other = await createSession();
    const stream = await app.subscribe<{ sessionEvents: ToldEvent }>(
      `subscription($filter: SessionEventFilter, $after: String) { sessionEvents(filter: $filter, after: $after) { ${FIELDS} } }`,
      { filter: { sessionIds: [id] }, after: encodeEventCursor(0n) },
    );
    await change('appendMessage(input: { sessionId: $id, message: { role: USER, content: "hello" } })');
    await change('updateSession(input: { id: $id, title: "Planning" })');
    await change('appendMessage(input: { sessionId: $id, message: { role: USER, content: "elsewhere" } })', { id: other });
    await change('endSession(input: { id: $id, status: FAILED, reason: "no idea" })');
    await change('deleteSession(input: { id: $id })');
    await change('restoreSession(input: { id: $id })');
    const events = await eventsOf({ id });
    expect(events.map(event => event.__typename)).toEqual([
      'SessionCreatedEvent',
      'MessageAddedEvent',
      'SessionUpdatedEvent',
      'SessionStatusChangedEvent',
      'SessionDeletedEvent',
      'SessionRestoredEvent',
    ]);
    const streamed: ToldEvent[] = [];
    while (streamed.length < events.length) streamed.push((await stream.next()).sessionEvents);
    await stream.close();
    // What is as of delivery was another state then.
    const asOfTheChange = (event: ToldEvent) => ({ ...event, session: null });
    expect(events.map(asOfTheChange)).toEqual(streamed.map(asOfTheChange));
    expect(events.at(-1)).toMatchObject({ sessionId: id, agentId: 'main', session: { sessionId: id, messageCount: 1 } });
  });

  it('has at once what was written before, by whichever server', async () => {
    const second = await app.startSecondServer();
    for (let number = 1; number <= 10; number += 1) {
      await change('appendMessage(input: { sessionId: $id, message: { role: USER, content: "hello" } })');
      const answer = await second.gql<{ session: { events: { totalCount: number; nodes: unknown[] } } }>(
        'query($id: ID!) { session(id: $id) { events { totalCount nodes { cursor } } } }',
        { id },
      );
      const { totalCount, nodes } = answer.expectOk().session.events;
      expect([totalCount, nodes.length]).toEqual([1 + number, 1 + number]);
    }
    await second.close();
  });

  it('takes the cursors of subscriptions, whatever their filter, and gives cursors that subscriptions take', async () => {
    const stream = await app.subscribe<{ sessionEvents: ToldEvent }>('subscription { sessionEvents { __typename cursor } }');
    await change('updateSession(input: { id: $id, title: "one" })');
    await createSession();
    const cursor = (await stream.next()).sessionEvents.cursor;
    const elsewhere = (await stream.next()).sessionEvents.cursor;
    await change('updateSession(input: { id: $id, title: "two" })');
    await stream.close();
    const rest = await eventsOf({ id, after: cursor });
    expect(rest.map(event => event.__typename)).toEqual(['SessionUpdatedEvent']);
    expect(await eventsOf({ id, after: elsewhere })).toEqual(rest);
    expect((await eventsOf({ id, last: 1, before: elsewhere })).map(event => event.cursor)).toEqual([cursor]);
    const resumed = await app.subscribe('subscription($after: String) { sessionEvents(after: $after) { cursor } }', { after: elsewhere });
    expect(await resumed.next()).toEqual({ sessionEvents: { cursor: rest[0]?.cursor } });
    await resumed.close();
  });

  it('shows a viewer only the events of agents it may see, in pages and totals', async () => {
    const guarded = await startTestApp();
    const sessionId = await createSession(guarded);
    const write = 'insert into aria_engine.session_events (session_id, agent_id, type) values ($1, $2, $3)';
    for (const agentId of ['main', 'foreign', 'main']) await execute(guarded.databaseUrl, write, [sessionId, agentId, 'RESTORED']);
    const { headers } = await makeKey(guarded, { scope: 'READ', agentIds: ['main'] });
    const answer = await guarded.gql<{ session: { events: { totalCount: number; nodes: { agentId: string }[] } } }>(
      'query($id: ID!) { session(id: $id) { events { totalCount nodes { agentId } } } }',
      { id: sessionId },
      { headers },
    );
    expect(answer.expectOk().session.events).toEqual({
      totalCount: 3,
      nodes: [{ agentId: 'main' }, { agentId: 'main' }, { agentId: 'main' }],
    });
  });

  it('leaves out types of a newer server, in pages and totals', async () => {
    await execute(app.databaseUrl, "insert into aria_engine.session_events (session_id, agent_id, type) values ($1, 'main', 'COMPACTED')", [
      id,
    ]);
    const answer = await app.gql<{ session: { events: object } }>(
      'query($id: ID!) { session(id: $id) { events { totalCount nodes { __typename } } } }',
      { id },
    );
    expect(answer.expectOk().session.events).toEqual({ totalCount: 1, nodes: [{ __typename: 'SessionCreatedEvent' }] });
  });
});

describe('a cursor of Session.events', () => {
  it('is BAD_CURSOR where it is malformed or ahead of the log', async () => {
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

  it('is CURSOR_EXPIRED as after, where the log no longer reaches back, also for a session without events', async () => {
    const short = await startTestApp();
    await execute(short.databaseUrl, 'update aria_engine.event_log_state set last_seq = 20, expired_seq = 10', []);
    const sessionId = await createSession(short);
    const ask = (after: bigint, field = 'after') => short.gql(EVENTS, { id: sessionId, [field]: encodeEventCursor(after) });
    (await ask(9n)).expectError('CURSOR_EXPIRED');
    (await ask(10n)).expectOk();
    expect((await ask(9n, 'before')).expectOk()).toEqual({ session: { events: { nodes: [] } } });
    await execute(short.databaseUrl, 'delete from aria_engine.session_events', []);
    (await ask(9n)).expectError('CURSOR_EXPIRED');
  });

  it('is the place of the event in the log', async () => {
    const [created] = await eventsOf({ id });
    const marker = (await eventsOf({ id: await createSession() }))[0];
    expect(decodeEventCursor(marker?.cursor ?? '')).toBeGreaterThan(decodeEventCursor(created?.cursor ?? '') ?? -1n);
  });
});
