import { randomUUID } from 'node:crypto';
import { type ExecutionResult, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createContextFactory } from '../../src/context.ts';
import { createEventLog, type EventLog } from '../../src/events/event-log.ts';
import { sessionGlobalId } from '../../src/global-id.ts';
import { createLog } from '../../src/log.ts';
import type { Caller } from '../../src/modules/caller.ts';
import { appendMessage } from '../../src/modules/message/message-append.service.ts';
import { deleteMessage } from '../../src/modules/message/message-delete.service.ts';
import { createSession } from '../../src/modules/session-mutation/session-create.service.ts';
import { deleteSession, restoreSession } from '../../src/modules/session-mutation/session-trash.service.ts';
import { endSession, updateSession } from '../../src/modules/session-mutation/session-update.service.ts';
import type { Database } from '../../src/postgres/database.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { createSchema } from '../../src/schema.ts';
import { OPEN_ACCESS } from '../../src/server/auth/authenticate.ts';
import { createRateLimiter } from '../../src/server/auth/rate-limiter.ts';
import { createErrorModel } from '../../src/server/graphql/error-model.ts';
import { subscribeOperation } from '../../src/server/graphql/subscription.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const log = createLog('silent');
const config = readConfig({});
const schema = createSchema();

let testDatabase: TestDatabase;
let database: Database;
let events: EventLog;
let caller: Caller;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = createDatabase({ url: testDatabase.url, poolSize: 4, statementTimeoutMs: 10_000, onConnectionError: () => undefined });
  events = await createEventLog({ url: testDatabase.url, log });
  caller = createContextFactory({
    config,
    database,
    events,
    rateLimiter: createRateLimiter({ ...config, limits: config.rateLimits, log }),
    log,
  })({
    requestId: 'test',
    access: OPEN_ACCESS,
  }).caller;
});

afterAll(async () => {
  await events.close();
  await database.close();
  await testDatabase.close();
});

type Subscribed = AsyncGenerator<ExecutionResult, undefined> | ExecutionResult;

/** Starts a subscription. Every matching event committed after this resolves is delivered. */
function subscribe(source: string, variableValues: Record<string, unknown> = {}): Promise<Subscribed> {
  return subscribeOperation(
    { schema, document: parse(source), variableValues },
    { requestId: 'test', signal: new AbortController().signal, access: OPEN_ACCESS },
    {
      createContext: createContextFactory({
        config,
        database,
        events,
        rateLimiter: createRateLimiter({ ...config, limits: config.rateLimits, log }),
        log,
      }),
      errors: createErrorModel(log),
      timeoutMs: 10_000,
    },
  );
}

/** Reads the next events of a stream and returns the value of their root field. */
async function takeEvents(stream: Subscribed, number: number): Promise<unknown[]> {
  if (!(Symbol.asyncIterator in stream)) throw new Error(`The subscription was refused: ${JSON.stringify(stream.errors)}`);
  const results: unknown[] = [];
  while (results.length < number) {
    const { done, value } = await stream.next();
    if (done === true) throw new Error(`The stream ended after ${results.length} of ${number} events.`);
    if (value.errors !== undefined) throw new Error(JSON.stringify(value.errors));
    results.push(...Object.values(value.data ?? {}));
  }
  return results;
}

const newSession = async (parentId?: string) => (await createSession(caller, { agentId: 'main', parentId })).id;
const append = (sessionId: string, content: string) => appendMessage(caller, { sessionId, message: { role: 'USER', content } });

const EVENTS = /* GraphQL */ `
  subscription ($filter: SessionEventFilter) {
    sessionEvents(filter: $filter) {
      __typename
      cursor
      occurredAt
      sessionId
      agentId
      session { sessionId title messageCount metadata }
      ... on SessionUpdatedEvent { changed }
      ... on SessionStatusChangedEvent { from to reason usage { inputTokens totalTokens costUsd } idleMs }
      ... on SessionDeletedEvent { permanent }
      ... on MessageAddedEvent { message { position content session { sessionId } } }
      ... on MessageDeletedEvent { messageId }
    }
  }
`;

describe('sessionEvents', () => {
  it('delivers every kind of change in order, with the session as it is at delivery', async () => {
    const stream = await subscribe(EVENTS);
    const id = await newSession();
    expect(await takeEvents(stream, 1)).toMatchObject([{ __typename: 'SessionCreatedEvent', agentId: 'main', session: { sessionId: id } }]);

    await updateSession(caller, { id, title: 'Planning', metadata: { step: 1 } });
    const [updated] = await takeEvents(stream, 1);
    expect(updated).toMatchObject({ __typename: 'SessionUpdatedEvent', session: { title: 'Planning', metadata: { step: 1 } } });
    expect(updated).toHaveProperty('changed', expect.arrayContaining(['title', 'metadata']));

    await appendMessage(caller, {
      sessionId: id,
      message: { role: 'USER', content: 'hello', usage: { inputTokens: 3, outputTokens: 4, costUsd: 0.5 } },
    });
    const added = { __typename: 'MessageAddedEvent', message: { position: 1, content: 'hello', session: { sessionId: id } } };
    expect(await takeEvents(stream, 1)).toMatchObject([{ ...added, session: { messageCount: 1 } }]);

    await endSession(caller, { id, status: 'FAILED', reason: 'no more ideas' });
    expect(await takeEvents(stream, 1)).toMatchObject([
      {
        __typename: 'SessionStatusChangedEvent',
        from: 'ACTIVE',
        to: 'FAILED',
        reason: 'no more ideas',
        usage: { inputTokens: 3, totalTokens: 7, costUsd: 0.5 },
        idleMs: expect.any(Number),
      },
    ]);

    await deleteSession(caller, { id });
    await restoreSession(caller, { id });
    await deleteSession(caller, { id, permanent: true });
    const last = await takeEvents(stream, 3);
    expect(last).toMatchObject([
      { __typename: 'SessionDeletedEvent', permanent: false },
      { __typename: 'SessionRestoredEvent' },
      { __typename: 'SessionDeletedEvent', permanent: true, session: null },
    ]);
  });

  it('delivers a MessageDeletedEvent with the id of the deleted message', async () => {
    const id = await newSession();
    const stream = await subscribe(EVENTS, { filter: { types: ['MESSAGE_ADDED', 'MESSAGE_DELETED'], sessionIds: [id] } });
    const messageId = (await append(id, 'mistaken')).messages[0]?.id ?? '';
    await deleteMessage(caller, { sessionId: id, id: messageId });
    expect((await takeEvents(stream, 2))[1]).toMatchObject({ __typename: 'MessageDeletedEvent', messageId, session: { messageCount: 0 } });
  });

  it('filters by session (global id or UUID), agent and type, combined with AND', async () => {
    const [one, two, three] = [await newSession(), await newSession(), (await createSession(caller, { agentId: 'other' })).id];
    const filter = {
      sessionIds: [sessionGlobalId(one), three.toUpperCase(), randomUUID(), 'nonsense'],
      agentIds: ['main', 'nobody'],
      types: ['MESSAGE_ADDED', 'CREATED'],
    };
    const stream = await subscribe(EVENTS, { filter });
    await append(three, 'of another agent');
    await append(two, 'in another session');
    await updateSession(caller, { id: one, title: 'of another type' });
    await append(one, 'this one');
    expect(await takeEvents(stream, 1)).toMatchObject([{ message: { content: 'this one' } }]);
  });

  it('delivers events of descendants created after the subscription started', async () => {
    const root = await newSession();
    const child = await newSession(root);
    const stream = await subscribe(EVENTS, { filter: { sessionIds: [root], includeDescendants: true } });
    const grandchild = await newSession(child);
    await append(grandchild, 'from below');
    await append(await newSession(), 'in an unrelated session');
    await append(root, 'from the root');
    const received = await takeEvents(stream, 3);
    expect(received).toMatchObject([
      { sessionId: grandchild },
      { message: { content: 'from below' } },
      { message: { content: 'from the root' } },
    ]);
  });

  it('rejects more than 1000 sessionIds with BAD_USER_INPUT', async () => {
    const sessionIds = Array.from({ length: 1_001 }, () => randomUUID());
    expect(await subscribe(EVENTS, { filter: { sessionIds } })).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT', details: { field: 'filter.sessionIds' } } }],
    });
  });
});

describe('sessionStatusChanged', () => {
  const STATUS_CHANGES = /* GraphQL */ `
    subscription ($sessionId: ID, $agentId: String) {
      sessionStatusChanged(sessionId: $sessionId, agentId: $agentId) { sessionId from to session { status } }
    }
  `;

  it('delivers status changes only, of one session, one agent or all sessions', async () => {
    const [id, other] = [await newSession(), (await createSession(caller, { agentId: 'other' })).id];
    const ofSession = await subscribe(STATUS_CHANGES, { sessionId: sessionGlobalId(id) });
    const ofAgent = await subscribe(STATUS_CHANGES, { agentId: 'other' });
    const ofAll = await subscribe(STATUS_CHANGES);
    await append(id, 'no change of status');
    await endSession(caller, { id: other });
    await updateSession(caller, { id, status: 'WORKING' });
    await updateSession(caller, { id, status: 'COMPLETED' });
    const ended = { sessionId: other, from: 'ACTIVE', to: 'ENDED', session: { status: 'ENDED' } };
    expect(await takeEvents(ofSession, 2)).toMatchObject([
      { from: 'ACTIVE', to: 'WORKING' },
      { from: 'WORKING', to: 'COMPLETED' },
    ]);
    expect(await takeEvents(ofAgent, 1)).toEqual([ended]);
    expect(await takeEvents(ofAll, 3)).toMatchObject([ended, { sessionId: id }, { sessionId: id }]);
  });

  it('fails with SESSION_NOT_FOUND for an unknown session', async () => {
    for (const sessionId of [randomUUID(), 'nonsense', '']) {
      expect(await subscribe(STATUS_CHANGES, { sessionId })).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
    }
  });
});

describe('messageAdded', () => {
  const NEW_MESSAGES = /* GraphQL */ `
    subscription ($sessionId: ID!) { messageAdded(sessionId: $sessionId) { sessionId message { role content position } } }
  `;

  it('delivers the new messages of the given session only', async () => {
    const [id, other] = [await newSession(), await newSession()];
    const stream = await subscribe(NEW_MESSAGES, { sessionId: id });
    await append(other, 'elsewhere');
    await append(id, 'first');
    await append(id, 'second');
    expect(await takeEvents(stream, 2)).toEqual([
      { sessionId: id, message: { role: 'USER', content: 'first', position: 1 } },
      { sessionId: id, message: { role: 'USER', content: 'second', position: 2 } },
    ]);
  });

  it('fails with SESSION_NOT_FOUND for an unknown session', async () => {
    for (const sessionId of [randomUUID(), 'nonsense']) {
      expect(await subscribe(NEW_MESSAGES, { sessionId })).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
    }
  });
});
