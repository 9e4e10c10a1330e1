import { randomUUID } from 'node:crypto';
import { type ExecutionResult, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createContextFactory } from '../../src/context.ts';
import { createEventLog, type EventLog } from '../../src/events/event-log.ts';
import { sessionGlobalId } from '../../src/global-id.ts';
import { createLog } from '../../src/log.ts';
import type { Caller } from '../../src/modules/caller.ts';
import { appendMessage, deleteMessage } from '../../src/modules/message/message.service.ts';
import { createSession } from '../../src/modules/session/session-create.service.ts';
import { deleteSession, restoreSession } from '../../src/modules/session/session-trash.service.ts';
import { endSession, updateSession } from '../../src/modules/session/session-update.service.ts';
import { createDatabase, type Database } from '../../src/postgres/database.ts';
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
    signal: new AbortController().signal,
    access: OPEN_ACCESS,
  }).caller;
});

afterAll(async () => {
  await events.close();
  await database.close();
  await testDatabase.close();
});

type Started = AsyncGenerator<ExecutionResult, undefined> | ExecutionResult;

/** Starts a subscription; everything committed after it resolves is in its stream. */
function start(source: string, variableValues: Record<string, unknown> = {}): Promise<Started> {
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

/** The root fields of a stream's next events. */
async function take(started: Started, number: number): Promise<unknown[]> {
  if (!(Symbol.asyncIterator in started)) throw new Error(`It did not start: ${JSON.stringify(started.errors)}`);
  const results: unknown[] = [];
  while (results.length < number) {
    const { done, value } = await started.next();
    if (done === true) throw new Error(`The stream ended after ${results.length} of ${number} events.`);
    if (value.errors !== undefined) throw new Error(JSON.stringify(value.errors));
    results.push(...Object.values(value.data ?? {}));
  }
  return results;
}

const session = async (parentId?: string) => (await createSession(caller, { agentId: 'main', parentId })).id;
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
  it('tells every change of a session, in order, with the session as it is at delivery', async () => {
    const stream = await start(EVENTS);
    const id = await session();
    expect(await take(stream, 1)).toMatchObject([{ __typename: 'SessionCreatedEvent', agentId: 'main', session: { sessionId: id } }]);

    await updateSession(caller, { id, title: 'Planning', metadata: { step: 1 } });
    const [updated] = await take(stream, 1);
    expect(updated).toMatchObject({ __typename: 'SessionUpdatedEvent', session: { title: 'Planning', metadata: { step: 1 } } });
    expect(updated).toHaveProperty('changed', expect.arrayContaining(['title', 'metadata']));

    await appendMessage(caller, {
      sessionId: id,
      message: { role: 'USER', content: 'hello', usage: { inputTokens: 3, outputTokens: 4, costUsd: 0.5 } },
    });
    const added = { __typename: 'MessageAddedEvent', message: { position: 1, content: 'hello', session: { sessionId: id } } };
    expect(await take(stream, 1)).toMatchObject([{ ...added, session: { messageCount: 1 } }]);

    await endSession(caller, { id, status: 'FAILED', reason: 'no more ideas' });
    expect(await take(stream, 1)).toMatchObject([
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
    const last = await take(stream, 3);
    expect(last).toMatchObject([
      { __typename: 'SessionDeletedEvent', permanent: false },
      { __typename: 'SessionRestoredEvent' },
      { __typename: 'SessionDeletedEvent', permanent: true, session: null },
    ]);
  });

  it('tells a deleted message by its id', async () => {
    const id = await session();
    const stream = await start(EVENTS, { filter: { types: ['MESSAGE_ADDED', 'MESSAGE_DELETED'], sessionIds: [id] } });
    const messageId = (await append(id, 'mistaken')).messages[0]?.id ?? '';
    await deleteMessage(caller, { sessionId: id, id: messageId });
    expect((await take(stream, 2))[1]).toMatchObject({ __typename: 'MessageDeletedEvent', messageId, session: { messageCount: 0 } });
  });

  it('filters by session (global id or UUID), agent and type, joined by AND', async () => {
    const [one, two, three] = [await session(), await session(), (await createSession(caller, { agentId: 'other' })).id];
    const filter = {
      sessionIds: [sessionGlobalId(one), three.toUpperCase(), randomUUID(), 'nonsense'],
      agentIds: ['main', 'nobody'],
      types: ['MESSAGE_ADDED', 'CREATED'],
    };
    const stream = await start(EVENTS, { filter });
    await append(three, 'of another agent');
    await append(two, 'in another session');
    await updateSession(caller, { id: one, title: 'of another type' });
    await append(one, 'this one');
    expect(await take(stream, 1)).toMatchObject([{ message: { content: 'this one' } }]);
  });

  it('follows descendants, also of children created later', async () => {
    const root = await session();
    const child = await session(root);
    const stream = await start(EVENTS, { filter: { sessionIds: [root], includeDescendants: true } });
    const grandchild = await session(child);
    await append(grandchild, 'from below');
    await append(await session(), 'a stranger');
    await append(root, 'from the root');
    const got = await take(stream, 3);
    expect(got).toMatchObject([
      { sessionId: grandchild },
      { message: { content: 'from below' } },
      { message: { content: 'from the root' } },
    ]);
  });

  it('refuses a filter that names too many', async () => {
    const sessionIds = Array.from({ length: 1_001 }, () => randomUUID());
    expect(await start(EVENTS, { filter: { sessionIds } })).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT', details: { field: 'filter.sessionIds' } } }],
    });
  });
});

describe('sessionStatusChanged', () => {
  const STATUS = /* GraphQL */ `
    subscription ($sessionId: ID, $agentId: String) {
      sessionStatusChanged(sessionId: $sessionId, agentId: $agentId) { sessionId from to session { status } }
    }
  `;

  it('tells changes of status: of one session, of one agent, of all', async () => {
    const [id, other] = [await session(), (await createSession(caller, { agentId: 'other' })).id];
    const ofSession = await start(STATUS, { sessionId: sessionGlobalId(id) });
    const ofAgent = await start(STATUS, { agentId: 'other' });
    const ofAll = await start(STATUS);
    await append(id, 'no change of status');
    await endSession(caller, { id: other });
    await updateSession(caller, { id, status: 'WORKING' });
    await updateSession(caller, { id, status: 'COMPLETED' });
    const ended = { sessionId: other, from: 'ACTIVE', to: 'ENDED', session: { status: 'ENDED' } };
    expect(await take(ofSession, 2)).toMatchObject([
      { from: 'ACTIVE', to: 'WORKING' },
      { from: 'WORKING', to: 'COMPLETED' },
    ]);
    expect(await take(ofAgent, 1)).toEqual([ended]);
    expect(await take(ofAll, 3)).toMatchObject([ended, { sessionId: id }, { sessionId: id }]);
  });

  it('is SESSION_NOT_FOUND for an unknown session', async () => {
    for (const sessionId of [randomUUID(), 'nonsense', '']) {
      expect(await start(STATUS, { sessionId })).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
    }
  });
});

describe('messageAdded', () => {
  const ADDED = /* GraphQL */ `
    subscription ($sessionId: ID!) { messageAdded(sessionId: $sessionId) { sessionId message { role content position } } }
  `;

  it('tells the messages of one session', async () => {
    const [id, other] = [await session(), await session()];
    const stream = await start(ADDED, { sessionId: id });
    await append(other, 'elsewhere');
    await append(id, 'first');
    await append(id, 'second');
    expect(await take(stream, 2)).toEqual([
      { sessionId: id, message: { role: 'USER', content: 'first', position: 1 } },
      { sessionId: id, message: { role: 'USER', content: 'second', position: 2 } },
    ]);
  });

  it('is SESSION_NOT_FOUND for an unknown session', async () => {
    for (const sessionId of [randomUUID(), 'nonsense']) {
      expect(await start(ADDED, { sessionId })).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
    }
  });
});
