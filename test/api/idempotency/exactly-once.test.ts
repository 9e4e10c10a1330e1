import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import type { Caller } from '../../../src/modules/caller.ts';
import { CallsInFlight } from '../../../src/modules/idempotency/calls-in-flight.service.ts';
import { viewerHash } from '../../../src/modules/idempotency/idempotency.rules.ts';
import { appendMessage } from '../../../src/modules/message/message-append.service.ts';
import { createSession } from '../../../src/modules/session-mutation/session-create.service.ts';
import { LOCAL_VIEWER, type Viewer } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';
import type { GqlResponse } from '../../support/graphql-response.ts';
import { mutationsWithInputField } from '../../support/schema-inputs.ts';
import { MESSAGE, type MutationName, outcomesOf, SESSION, type SessionView, typesOf, useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi();
const { create, mutate, expectError } = api;

let servers: readonly TestApp[];
beforeAll(async () => {
  servers = [api.app, await api.app.startSecondServer()];
});

type Input = Readonly<Record<string, unknown>>;

const MUTATIONS = ['createSession', 'updateSession', 'endSession', 'appendMessage', 'appendMessages'] as const;

/** The fields of each mutation's payload, except `created`. */
const PAYLOAD: Readonly<Record<(typeof MUTATIONS)[number], string>> = {
  createSession: `session { ${SESSION} }`,
  updateSession: `session { ${SESSION} }`,
  endSession: `session { ${SESSION} }`,
  appendMessage: `message { ${MESSAGE} } session { ${SESSION} }`,
  appendMessages: `messages { ${MESSAGE} } session { ${SESSION} }`,
};

/** The event types of a session after its creation and one execution of the mutation. */
const EVENTS: Readonly<Record<(typeof MUTATIONS)[number], readonly string[]>> = {
  createSession: ['CREATED'],
  updateSession: ['CREATED', 'UPDATED'],
  endSession: ['CREATED', 'STATUS_CHANGED'],
  appendMessage: ['CREATED', 'MESSAGE_ADDED'],
  appendMessages: ['CREATED', 'MESSAGE_ADDED', 'MESSAGE_ADDED'],
};

/** The number of SQL statements of the mutation without an idempotency key. */
const STATEMENTS: Readonly<Record<(typeof MUTATIONS)[number], number>> = {
  createSession: 1,
  updateSession: 2,
  endSession: 2,
  appendMessage: 1,
  appendMessages: 1,
};

it('tests every mutation of the schema whose input has an idempotencyKey', async () => {
  expect(await mutationsWithInputField(api.app, 'idempotencyKey')).toEqual([...MUTATIONS].sort());
});

/**
 * Builds an input for the mutation, on a new session if none is given. Inputs of different variants differ; if they have only an id, one is the
 * global id and the other the UUID.
 */
async function inputOf(name: (typeof MUTATIONS)[number], variant: string, session?: SessionView): Promise<Input> {
  const target = session ?? (await create());
  const message = { role: 'USER', content: variant, usage: { inputTokens: 3 } };
  switch (name) {
    case 'createSession':
      return { key: `once-${variant}`, label: `once-${variant}`, metadata: { b: [1], a: { d: 1, c: null } } };
    case 'updateSession':
      return { id: target.id, title: variant, expectedVersion: 1 };
    case 'endSession':
      return { id: target.sessionId, reason: variant, expectedVersion: 1 };
    case 'appendMessage':
      return { sessionId: target.id, message };
    case 'appendMessages':
      return { sessionId: target.id, messages: [message, { ...message, role: 'ASSISTANT' }] };
  }
}

function sendTo(
  app: TestApp,
  name: MutationName,
  input: Input,
  selection = '__typename',
): Promise<GqlResponse<Record<string, { session: SessionView; created: boolean }>>> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  return app.gql(`mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} } }`, { input });
}

/** Sends all calls concurrently, alternating between the two servers. */
function sendAll(name: MutationName, inputs: readonly Input[], selection?: string) {
  return inputs.map((input, index) => sendTo(servers[index % 2] ?? api.app, name, input, selection));
}

const stored = (key: string) => api.rows('select * from aria_engine.idempotency_keys where key = $1', [key]);

/** Makes a stored key older by the interval. */
const age = (key: string, interval = '24 hours') =>
  api.rows('update aria_engine.idempotency_keys set created_at = created_at - $2::interval where key = $1', [key, interval]);

/** The caller that the services expect, for direct calls in this process. */
function callerOf(viewer: Viewer, callsInFlight = new CallsInFlight()): Caller {
  const { database, events } = api.app.app;
  return {
    viewer,
    database,
    models: database.models,
    settings: readConfig({}).sessions,
    eventsWritten: () => events.wake(),
    callsInFlight,
    appendQueue: null,
  };
}

describe.each(MUTATIONS)('%s with an idempotencyKey', name => {
  it('executes once and returns the same payload for concurrent and later calls on two servers', async () => {
    const idempotencyKey = randomUUID();
    const input = { ...(await inputOf(name, `${name} once`)), idempotencyKey };
    const answers = (await Promise.all(sendAll(name, Array(100).fill(input), PAYLOAD[name]))).map(answer => answer.expectOk());
    const [first] = answers;
    for (const answer of answers) expect(answer).toEqual(first);
    for (const app of servers) expect((await sendTo(app, name, input, PAYLOAD[name])).expectOk()).toEqual(first);
    const session = first?.[name]?.session;
    expect(typesOf(await api.events(session?.sessionId ?? ''))).toEqual(EVENTS[name]);
    expect(await stored(idempotencyKey)).toHaveLength(1);
  });

  it('returns IDEMPOTENCY_CONFLICT for every call with another input', async () => {
    const idempotencyKey = randomUUID();
    const session = await create();
    const bodies = [await inputOf(name, `${name} this`, session), await inputOf(name, `${name} that`, session)];
    const calls = Array.from({ length: 40 }, (_, index) => ({ ...bodies[index % 4 < 2 ? 0 : 1], idempotencyKey }));
    const outcomes = await outcomesOf(sendAll(name, calls));
    const won = outcomes[0] === 'OK' ? 0 : 1;
    expect(outcomes).toEqual(calls.map((_, index) => ((index % 4 < 2 ? 0 : 1) === won ? 'OK' : 'IDEMPOTENCY_CONFLICT')));
    for (const app of servers) {
      const error = (await sendTo(app, name, { ...bodies[1 - won], idempotencyKey })).expectError('IDEMPOTENCY_CONFLICT');
      expect(error.extensions).toMatchObject({ retryable: false, details: { field: 'input.idempotencyKey' } });
    }
  });

  it('executes again, with any input, when the stored key is 24 hours old', async () => {
    const idempotencyKey = randomUUID();
    const first = await inputOf(name, `${name} first`);
    (await sendTo(api.app, name, { ...first, idempotencyKey })).expectOk();
    await age(idempotencyKey, '23 hours 59 minutes');
    const second = { ...(await inputOf(name, `${name} second`)), idempotencyKey };
    await expectError(name, second, 'IDEMPOTENCY_CONFLICT');
    await age(idempotencyKey, '1 minute');
    const answers = await Promise.all(sendAll(name, Array(10).fill(second), PAYLOAD[name]));
    const [firstResponse] = answers.map(answer => answer.expectOk());
    expect(typesOf(await api.events(firstResponse?.[name]?.session.sessionId ?? ''))).toEqual(EVENTS[name]);
    await expectError(name, { ...first, idempotencyKey }, 'IDEMPOTENCY_CONFLICT');
  });

  it('stores nothing for a failed call, so that a later call executes', async () => {
    const idempotencyKey = randomUUID();
    const session = await create({ label: `failing ${name}` });
    const input = { ...(await inputOf(name, `failing ${name}`, session)), idempotencyKey };
    if (name === 'createSession') await create({ label: 'once-failing createSession' });
    else await mutate('deleteSession', { id: session.id }, 'deletedId');
    const code = name === 'createSession' ? 'LABEL_TAKEN' : 'SESSION_NOT_FOUND';
    expect(new Set(await outcomesOf(sendAll(name, Array(10).fill(input))))).toEqual(new Set([code]));
    expect(await stored(idempotencyKey)).toEqual([]);
    await api.rows(`update aria_engine.chat_sessions set label = null where label = 'once-failing createSession'`);
    // Undo the deletion without a trace, because the input expects version 1.
    await api.rows('update aria_engine.chat_sessions set deleted_at = null, version = 1 where id = $1', [session.sessionId]);
    (await sendTo(api.app, name, input)).expectOk();
    expect(await stored(idempotencyKey)).toHaveLength(1);
  });

  it('returns the current state of its result on replay', async () => {
    const idempotencyKey = randomUUID();
    const input = { ...(await inputOf(name, `${name} later`)), idempotencyKey };
    const { session } = (await sendTo(api.app, name, input, PAYLOAD[name])).expectOk()[name] ?? {};
    const replayed = async () => (await sendTo(api.app, name, input, 'session { title deletedAt }')).expectOk()[name]?.session;
    await api.rows(`update aria_engine.chat_sessions set title = 'since' where id = $1`, [session?.sessionId]);
    expect(await replayed()).toEqual({ title: 'since', deletedAt: null });
    await mutate('deleteSession', { id: session?.id }, 'deletedId');
    expect(await replayed()).toEqual({ title: 'since', deletedAt: expect.any(String) });
    await mutate('deleteSession', { id: session?.id, permanent: true }, 'deletedId');
    (await sendTo(api.app, name, input, PAYLOAD[name])).expectError('SESSION_NOT_FOUND');
  });

  it('does not touch idempotency_keys when the key is null', async () => {
    const input = await inputOf(name, `${name} plain`);
    const answer = await sendTo(api.app, name, { ...input, idempotencyKey: null });
    answer.expectOk();
    expect(answer.sql.map(({ sql }) => sql).join()).not.toContain('idempotency_keys');
    expect(answer.sql).toHaveLength(STATEMENTS[name]);
  });

  it('accepts keys of 1 to 200 characters and rejects NUL and lone surrogates', async () => {
    const input = await inputOf(name, `${name} key`);
    for (const idempotencyKey of ['', 'x'.repeat(201), '𝒜'.repeat(201), 'a\0', '\ud800']) {
      const error = await expectError(name, { ...input, idempotencyKey }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toMatchObject({ field: 'input.idempotencyKey' });
    }
    const idempotencyKey = `${name}${'𝒜'.repeat(200 - name.length)}`;
    (await sendTo(api.app, name, { ...input, idempotencyKey })).expectOk();
    (await sendTo(api.app, name, { ...input, idempotencyKey })).expectOk();
  });
});

describe('an idempotencyKey', () => {
  it('adds two statements to a mutation: one to claim the key and one to store the result', async () => {
    const { id } = await create();
    const input = { sessionId: id, message: { role: 'USER', content: 'a' }, idempotencyKey: randomUUID() };
    expect((await api.send('appendMessage', input, 'message { position }')).sql).toHaveLength(3);
    expect((await api.send('appendMessage', input, 'message { position }')).sql).toHaveLength(3);
  });

  it('returns IDEMPOTENCY_CONFLICT when another mutation uses it', async () => {
    const idempotencyKey = randomUUID();
    const { id } = await create({ idempotencyKey });
    await expectError('endSession', { id, idempotencyKey }, 'IDEMPOTENCY_CONFLICT');
  });

  it('is separate for each viewer, including viewers with a very long id', async () => {
    const idempotencyKey = randomUUID();
    const callsInFlight = new CallsInFlight();
    const callers = ['key:a', 'key:b', `token:${'x'.repeat(9_000)}\0`].map(id => callerOf({ ...LOCAL_VIEWER, id }, callsInFlight));
    const created = await Promise.all(callers.map(caller => createSession(caller, { idempotencyKey })));
    expect(created.map(session => session.created)).toEqual([true, true, true]);
    for (const [index, caller] of callers.entries()) {
      expect(await createSession(caller, { idempotencyKey })).toEqual({ id: created[index]?.id, created: false });
    }
    expect(await stored(idempotencyKey)).toHaveLength(3);
  });

  it('returns SESSION_NOT_FOUND on replay when the viewer may no longer see the agent of the session', async () => {
    const { sessionId } = await create({ agentId: 'ours' });
    const input = { sessionId, message: { role: 'USER' as const, content: 'a' }, idempotencyKey: randomUUID() };
    await appendMessage(callerOf({ ...LOCAL_VIEWER, agentIds: ['ours'] }), input);
    const call = appendMessage(callerOf({ ...LOCAL_VIEWER, agentIds: ['other'] }), input);
    await expect(call).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
  });

  it('ignores the order of input fields but distinguishes null from an absent field', async () => {
    const idempotencyKey = randomUUID();
    const { id, sessionId } = await create();
    await mutate('updateSession', { id, title: 'a', metadata: { a: 1, b: { c: 1, d: 2 } }, idempotencyKey }, '__typename');
    await mutate('updateSession', { metadata: { b: { d: 2, c: 1 }, a: 1 }, idempotencyKey, id, title: 'a' }, '__typename');
    const cleared = { id, title: 'a', metadata: { a: 1, b: { c: 1, d: 2 } }, label: null, idempotencyKey };
    await expectError('updateSession', cleared, 'IDEMPOTENCY_CONFLICT');
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'UPDATED']);
  });

  it('returns BAD_USER_INPUT, as without a key, for metadata that is nested too deeply', async () => {
    const deep = JSON.parse(`${'{"a":'.repeat(220)}1${'}'.repeat(220)}`);
    const { id } = await create();
    await expectError('updateSession', { id, metadata: deep, idempotencyKey: randomUUID() }, 'BAD_USER_INPUT');
  });
});

describe('createSession with an idempotencyKey', () => {
  it('returns created: true to exactly one of twenty concurrent calls', async () => {
    const input = { title: 'counted', idempotencyKey: randomUUID() };
    const answers = await Promise.all(sendAll('createSession', Array(20).fill(input), 'created'));
    const created = answers.map(answer => answer.expectOk().createSession?.created);
    expect(created.filter(Boolean)).toHaveLength(1);
  });

  it('with ifExists: RETURN, replays the session it found first, even after another session has taken the session key', async () => {
    const holder = await create({ key: 'held' });
    const input = { key: 'held', ifExists: 'RETURN', idempotencyKey: randomUUID() };
    const found = () => mutate('createSession', input, 'created session { sessionId }');
    const expected = { created: false, session: { sessionId: holder.sessionId } };
    expect(await found()).toEqual(expected);
    await mutate('deleteSession', { id: holder.id }, 'deletedId');
    const successor = await create({ key: 'held' });
    expect(await found()).toEqual(expected);
    expect(await mutate('createSession', { ...input, idempotencyKey: randomUUID() }, 'created session { sessionId }')).toEqual({
      created: false,
      session: { sessionId: successor.sessionId },
    });
  });

  it('creates one session for one session key when twenty calls have different idempotency keys', async () => {
    const calls = Array.from({ length: 20 }, () => ({ key: 'wanted', ifExists: 'RETURN', idempotencyKey: randomUUID() }));
    const answers = await Promise.all(sendAll('createSession', calls, 'session { sessionId }'));
    expect(new Set(answers.map(answer => answer.expectOk().createSession?.session.sessionId)).size).toBe(1);
    const refused = calls.map(({ idempotencyKey }) => ({ key: 'scarce', idempotencyKey: `${idempotencyKey}-` }));
    expect((await outcomesOf(sendAll('createSession', refused))).sort()).toEqual([...Array(19).fill('KEY_TAKEN'), 'OK']);
  });
});

describe('appendMessage and appendMessages with an idempotencyKey', () => {
  it('return MESSAGE_NOT_FOUND on replay when an appended message has been deleted', async () => {
    const { id, sessionId } = await create();
    const messages = ['a', 'b', 'c'].map(content => ({ role: 'USER', content }));
    const input = { sessionId: id, messages, idempotencyKey: randomUUID() };
    const appended = await mutate<{ messages: { messageId: string }[] }>('appendMessages', input, 'messages { messageId }');
    expect(await mutate('appendMessages', input, 'messages { messageId }')).toEqual(appended);
    const messageId = appended.messages[1]?.messageId;
    await mutate('deleteMessage', { id: messageId, sessionId }, 'deletedId');
    const error = await expectError('appendMessages', input, 'MESSAGE_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id: messageId });
    expect(await api.messages(id)).toHaveLength(2);
  });

  it('append one branch for ten concurrent calls', async () => {
    const { id } = await create();
    const { id: parentId } = await api.append(id, { content: 'root' });
    await api.append(id, { content: 'abandoned' });
    const input = { sessionId: id, message: { role: 'USER', content: 'branch', parentId }, idempotencyKey: randomUUID() };
    const answers = await Promise.all(sendAll('appendMessage', Array(10).fill(input), PAYLOAD.appendMessage));
    const [first, ...others] = answers.map(answer => answer.expectOk());
    for (const other of others) expect(other).toEqual(first);
    expect((await api.messages(id)).map(({ content, active }) => [content, active])).toEqual([
      ['root', true],
      ['abandoned', false],
      ['branch', true],
    ]);
  });

  it('deliver one messageAdded event for ten concurrent calls', async () => {
    const { id, sessionId } = await create();
    const stream = await api.app.subscribe<{ messageAdded: { message: { content: string } } }>(
      'subscription ($id: ID!) { messageAdded(sessionId: $id) { message { content } } }',
      { id: sessionId },
    );
    const input = { sessionId: id, message: { role: 'USER', content: 'once' }, idempotencyKey: randomUUID() };
    await Promise.all(sendAll('appendMessage', Array(10).fill(input)));
    await api.append(id, { content: 'then' });
    expect((await stream.next()).messageAdded.message.content).toBe('once');
    expect((await stream.next()).messageAdded.message.content).toBe('then');
    await stream.close();
  });
});

describe('the wait for an idempotencyKey that another process has claimed', () => {
  const clients: pg.Client[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end();
  });

  /** Claims the key in a transaction that stays open, as another process would during its call. */
  async function claimKey(key: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: api.app.databaseUrl });
    client.on('error', () => undefined);
    clients.push(client);
    await client.connect();
    await client.query('begin');
    await client.query(`insert into aria_engine.idempotency_keys (viewer_id, key, call_hash) values ($1, $2, '')`, [
      viewerHash('local'),
      key,
    ]);
    return client;
  }

  const isWaitingForKey = async () => {
    const [row] = await api.rows<{ waiting: boolean }>(
      `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%idempotency_keys%') as waiting`,
    );
    return row?.waiting === true;
  };

  it('ends when that process dies, and the mutation executes once', async () => {
    const { id } = await create();
    const idempotencyKey = randomUUID();
    const holder = await claimKey(idempotencyKey);
    const input = { sessionId: id, message: { role: 'USER', content: 'survivor' }, idempotencyKey };
    const answers = sendAll('appendMessage', Array(10).fill(input));
    await expect.poll(isWaitingForKey).toBe(true);
    const [backend] = (await holder.query<{ pid: number }>('select pg_backend_pid() as pid')).rows;
    await api.rows('select pg_terminate_backend($1)', [backend?.pid]);
    expect(await outcomesOf(answers)).toEqual(Array(10).fill('OK'));
    expect(await api.messages(id)).toHaveLength(1);
  });

  it('fails with SERVICE_UNAVAILABLE after the timeout', async () => {
    const idempotencyKey = randomUUID();
    const holder = await claimKey(idempotencyKey);
    const callerWithShortTimeout = callerOf(LOCAL_VIEWER, new CallsInFlight(200));
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => createSession(callerWithShortTimeout, { idempotencyKey })));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'SERVICE_UNAVAILABLE' } });
    await holder.query('rollback');
    expect(await createSession(callerOf(LOCAL_VIEWER), { idempotencyKey })).toMatchObject({ created: true });
  });

  it('has a timeout that does not limit the wait for the lock on the session', async () => {
    const { sessionId } = await create();
    const holder = await claimKey(randomUUID());
    await holder.query('select from aria_engine.chat_sessions where id = $1 for update', [sessionId]);
    const message = { role: 'USER' as const, content: 'patient' };
    const appended = appendMessage(callerOf(LOCAL_VIEWER, new CallsInFlight(100)), { sessionId, message, idempotencyKey: randomUUID() });
    const settled = appended.then(
      () => 'appended',
      (error: unknown) => error,
    );
    const hasWaitedForSession = async () =>
      (
        await api.rows<{ long: boolean }>(
          `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
            and query like '%chat_sessions%' and clock_timestamp() - query_start > interval '300 milliseconds') as long`,
        )
      )[0]?.long;
    await expect.poll(hasWaitedForSession).toBe(true);
    await holder.query('rollback');
    expect(await settled).toBe('appended');
  });
});
