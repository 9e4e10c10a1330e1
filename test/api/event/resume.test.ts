import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

interface EventData {
  readonly __typename: string;
  readonly cursor: string;
  readonly sessionId: string;
}

const EVENTS =
  'subscription($filter: SessionEventFilter, $after: String) { sessionEvents(filter: $filter, after: $after) { __typename cursor sessionId } }';
const STATUS = 'subscription($id: ID, $after: String) { sessionStatusChanged(sessionId: $id, after: $after) { cursor to } }';
const ADDED = 'subscription($id: ID!, $after: String) { messageAdded(sessionId: $id, after: $after) { cursor message { position } } }';

const TRANSPORTS = ['ws', 'sse'] as const;

async function createSession(): Promise<string> {
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation { createSession(input: {}) { session { sessionId } } }',
  );
  return created.expectOk().createSession.session.sessionId;
}

async function append(sessionId: string, count = 1): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const message = { role: 'USER', content: `message ${number}` };
    (
      await app.gql('mutation($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }', {
        input: { sessionId, message },
      })
    ).expectOk();
  }
}

async function deletePermanently(id: string): Promise<void> {
  (await app.gql('mutation($id: ID!) { deleteSession(input: { id: $id, permanent: true }) { deletedId } }', { id })).expectOk();
}

/** Returns the cursor of the session's last event. */
async function lastCursorOf(sessionId: string, after = encodeEventCursor(0n)): Promise<string> {
  const marker = await createSession();
  const stream = await app.subscribe<{ sessionEvents: EventData }>(EVENTS, { filter: { sessionIds: [sessionId, marker] }, after });
  let cursor = after;
  for (;;) {
    const { sessionEvents: event } = await stream.next();
    if (event.sessionId === marker) break;
    cursor = event.cursor;
  }
  await stream.close();
  return cursor;
}

describe.each(TRANSPORTS)('a subscription with after over %s', over => {
  it('delivers the events since the cursor, then new events', async () => {
    const id = await createSession();
    const after = await lastCursorOf(id);
    await append(id, 2);
    const stream = await app.subscribe<{ sessionEvents: EventData }>(EVENTS, { filter: { sessionIds: [id] }, after }, { over });
    const missed = [await stream.next(), await stream.next()];
    await append(id);
    const types = [...missed, await stream.next()].map(({ sessionEvents }) => sessionEvents.__typename);
    expect(types).toEqual(['MessageAddedEvent', 'MessageAddedEvent', 'MessageAddedEvent']);
    await stream.close();
  });

  it('resumes messageAdded and sessionStatusChanged at a cursor from another subscription', async () => {
    const id = await createSession();
    const after = await lastCursorOf(id);
    await append(id, 2);
    (await app.gql('mutation($id: ID!) { endSession(input: { id: $id }) { session { id } } }', { id })).expectOk();
    const messages = await app.subscribe<{ messageAdded: { cursor: string; message: { position: number } } }>(
      ADDED,
      { id, after },
      { over },
    );
    const [first, second] = [await messages.next(), await messages.next()];
    expect([first, second].map(({ messageAdded }) => messageAdded.message.position)).toEqual([1, 2]);
    const rest = await app.subscribe<{ messageAdded: { message: { position: number } } }>(
      ADDED,
      { id, after: first.messageAdded.cursor },
      { over },
    );
    expect((await rest.next()).messageAdded.message.position).toBe(2);
    const statuses = await app.subscribe(STATUS, { id, after: second.messageAdded.cursor }, { over });
    expect(await statuses.next()).toMatchObject({ sessionStatusChanged: { to: 'ENDED' } });
    for (const stream of [messages, rest, statuses]) await stream.close();
  });

  it('delivers the missed events of a permanently deleted session', async () => {
    const id = await createSession();
    const after = await lastCursorOf(id);
    await append(id);
    await deletePermanently(id);
    const messages = await app.subscribe(ADDED, { id, after }, { over });
    expect(await messages.next()).toMatchObject({ messageAdded: { message: null } });
    expect(await messages.nextResult()).toBeNull();
    expect(await (await app.subscribe(ADDED, { id }, { over })).nextResult()).toMatchObject({
      errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }],
    });
  });

  it('completes the streams of a session when it is removed for good, but not when it goes to the trash', async () => {
    const id = await createSession();
    const messages = await app.subscribe(ADDED, { id }, { over });
    const statuses = await app.subscribe(STATUS, { id }, { over });
    (await app.gql('mutation($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }', { id })).expectOk();
    (await app.gql('mutation($id: ID!) { restoreSession(input: { id: $id }) { session { id } } }', { id })).expectOk();
    await append(id);
    expect(await messages.next()).toMatchObject({ messageAdded: { message: { position: 1 } } });
    await deletePermanently(id);
    expect(await messages.nextResult()).toBeNull();
    expect(await statuses.nextResult()).toBeNull();
  });

  it('completes the streams of a removed session at once if the cursor is later than its removal', async () => {
    const id = await createSession();
    await append(id);
    await deletePermanently(id);
    const after = await lastCursorOf(await createSession());
    for (const query of [ADDED, STATUS]) {
      const stream = await app.subscribe(query, { id, after }, { over });
      expect(await stream.nextResult()).toBeNull();
    }
  });

  it('keeps sessionEvents open when a session of its filter is removed for good', async () => {
    const [id, other] = [await createSession(), await createSession()];
    const stream = await app.subscribe<{ sessionEvents: EventData }>(EVENTS, { filter: { sessionIds: [id, other] } }, { over });
    await deletePermanently(id);
    expect((await stream.next()).sessionEvents.__typename).toBe('SessionDeletedEvent');
    await append(other);
    expect((await stream.next()).sessionEvents.__typename).toBe('MessageAddedEvent');
    await stream.close();
  });

  it('returns SESSION_NOT_FOUND for an unknown session, with a valid or a malformed cursor', async () => {
    for (const query of [ADDED, STATUS]) {
      for (const after of [encodeEventCursor(0n), 'nonsense']) {
        const stream = await app.subscribe(query, { id: randomUUID(), after }, { over });
        expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
      }
    }
  });

  it('returns BAD_CURSOR for a malformed cursor and for one beyond the end of the log', async () => {
    const id = await createSession();
    for (const after of ['', 'nonsense', encodeEventCursor(2n ** 62n), 'WzEsImFiYyJd']) {
      for (const query of [EVENTS, ADDED, STATUS]) {
        const stream = await app.subscribe(query, query === EVENTS ? { after } : { id, after }, { over });
        expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'BAD_CURSOR', details: { field: 'after' } } }] });
      }
    }
  });
});

describe('a subscription whose cursor is older than the retained log', () => {
  it.each(TRANSPORTS)('returns CURSOR_EXPIRED and ends over %s', async over => {
    const { databaseUrl, subscribe } = await startTestApp();
    await runSql(databaseUrl, 'update aria_engine.event_log_state set last_seq = 20, expired_seq = 10');
    const [expired, oldestRetained] = [9n, 10n].map(seq => ({ after: encodeEventCursor(seq) }));
    const refused = await subscribe(EVENTS, expired, { over });
    expect(await refused.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'CURSOR_EXPIRED', retryable: false } }] });
    expect(await refused.nextResult().catch(() => null)).toBeNull();
    const open = await subscribe(EVENTS, oldestRetained, { over });
    await open.close();
  });
});
