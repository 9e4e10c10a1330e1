import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import type { Caller } from '../../../src/modules/caller.ts';
import { CallsInFlight } from '../../../src/modules/idempotency/calls-in-flight.service.ts';
import { viewerHash } from '../../../src/modules/idempotency/idempotency.rules.ts';
import { appendMessage } from '../../../src/modules/message/message.service.ts';
import { createSession } from '../../../src/modules/session/session-create.service.ts';
import { LOCAL_VIEWER, type Viewer } from '../../../src/modules/viewer/viewer.rules.ts';
import type { TestApp } from '../../support/app.ts';
import type { GqlResponse } from '../../support/graphql-response.ts';
import { MESSAGE, type MutationName, outcomesOf, SESSION, type SessionView, typesOf, useWriteSide } from '../session/write-side.ts';

const side = useWriteSide();
const { create, mutate, refuse } = side;

let servers: readonly TestApp[];
beforeAll(async () => {
  servers = [side.app, await side.app.startSecondServer()];
});

type Input = Readonly<Record<string, unknown>>;

const MUTATIONS = ['createSession', 'updateSession', 'endSession', 'appendMessage', 'appendMessages'] as const;

/** Everything a mutation's payload tells, but `created`. */
const PAYLOAD: Readonly<Record<(typeof MUTATIONS)[number], string>> = {
  createSession: `session { ${SESSION} }`,
  updateSession: `session { ${SESSION} }`,
  endSession: `session { ${SESSION} }`,
  appendMessage: `message { ${MESSAGE} } session { ${SESSION} }`,
  appendMessages: `messages { ${MESSAGE} } session { ${SESSION} }`,
};

/** The events a session has after it was created and the mutation was made once. */
const EVENTS: Readonly<Record<(typeof MUTATIONS)[number], readonly string[]>> = {
  createSession: ['CREATED'],
  updateSession: ['CREATED', 'UPDATED'],
  endSession: ['CREATED', 'STATUS_CHANGED'],
  appendMessage: ['CREATED', 'MESSAGE_ADDED'],
  appendMessages: ['CREATED', 'MESSAGE_ADDED', 'MESSAGE_ADDED'],
};

/** An input of a mutation on a session of its own; `variant` makes it another input. */
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
): Promise<GqlResponse<Record<string, { session: SessionView }>>> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  return app.gql(`mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} } }`, { input });
}

/** Sends the calls to the servers in turn, all at once. */
function sendAll(name: MutationName, inputs: readonly Input[], selection?: string) {
  return inputs.map((input, index) => sendTo(servers[index % 2] ?? side.app, name, input, selection));
}

const stored = (key: string) => side.rows('select * from aria_engine.idempotency_keys where key = $1', [key]);

/** Lets a day pass for a key. */
const age = (key: string, interval = '24 hours') =>
  side.rows('update aria_engine.idempotency_keys set created_at = created_at - $2::interval where key = $1', [key, interval]);

/** What a call of this process works with. */
function callerOf(viewer: Viewer, callsInFlight = new CallsInFlight()): Caller {
  const { database, events } = side.app.app;
  return { viewer, database, settings: readConfig({}).sessions, eventsWritten: () => events.wake(), callsInFlight };
}

describe.each(MUTATIONS)('%s with a key', name => {
  it('happens once, however often it is called, at once and later, on either server', async () => {
    const idempotencyKey = randomUUID();
    const input = { ...(await inputOf(name, `${name} once`)), idempotencyKey };
    const answers = (await Promise.all(sendAll(name, Array(100).fill(input), PAYLOAD[name]))).map(answer => answer.expectOk());
    const [first] = answers;
    for (const answer of answers) expect(answer).toEqual(first);
    for (const app of servers) expect((await sendTo(app, name, input, PAYLOAD[name])).expectOk()).toEqual(first);
    const session = first?.[name]?.session;
    expect(typesOf(await side.events(session?.sessionId ?? ''))).toEqual(EVENTS[name]);
    expect(await stored(idempotencyKey)).toHaveLength(1);
  });

  it('is IDEMPOTENCY_CONFLICT for all who ask for something else', async () => {
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

  it('is a new call after 24 hours, whatever it asks for', async () => {
    const idempotencyKey = randomUUID();
    const first = await inputOf(name, `${name} first`);
    (await sendTo(side.app, name, { ...first, idempotencyKey })).expectOk();
    await age(idempotencyKey, '23 hours 59 minutes');
    const second = { ...(await inputOf(name, `${name} second`)), idempotencyKey };
    await refuse(name, second, 'IDEMPOTENCY_CONFLICT');
    await age(idempotencyKey, '1 minute');
    const answers = await Promise.all(sendAll(name, Array(10).fill(second), PAYLOAD[name]));
    const [made] = answers.map(answer => answer.expectOk());
    expect(typesOf(await side.events(made?.[name]?.session.sessionId ?? ''))).toEqual(EVENTS[name]);
    await refuse(name, { ...first, idempotencyKey }, 'IDEMPOTENCY_CONFLICT');
  });

  it('keeps nothing of a call that failed', async () => {
    const idempotencyKey = randomUUID();
    const session = await create({ label: `failing ${name}` });
    const input = { ...(await inputOf(name, `failing ${name}`, session)), idempotencyKey };
    if (name === 'createSession') await create({ label: 'once-failing createSession' });
    else await mutate('deleteSession', { id: session.id }, 'deletedId');
    const code = name === 'createSession' ? 'LABEL_TAKEN' : 'SESSION_NOT_FOUND';
    expect(new Set(await outcomesOf(sendAll(name, Array(10).fill(input))))).toEqual(new Set([code]));
    expect(await stored(idempotencyKey)).toEqual([]);
    await side.rows(`update aria_engine.chat_sessions set label = null where label = 'once-failing createSession'`);
    // Restored as if it had never been deleted: the version that is expected is the first one's.
    await side.rows('update aria_engine.chat_sessions set deleted_at = null, version = 1 where id = $1', [session.sessionId]);
    (await sendTo(side.app, name, input)).expectOk();
    expect(await stored(idempotencyKey)).toHaveLength(1);
  });

  it('shows its result as it is now', async () => {
    const idempotencyKey = randomUUID();
    const input = { ...(await inputOf(name, `${name} later`)), idempotencyKey };
    const { session } = (await sendTo(side.app, name, input, PAYLOAD[name])).expectOk()[name] ?? {};
    const replayed = async () => (await sendTo(side.app, name, input, 'session { title deletedAt }')).expectOk()[name]?.session;
    await side.rows(`update aria_engine.chat_sessions set title = 'since' where id = $1`, [session?.sessionId]);
    expect(await replayed()).toEqual({ title: 'since', deletedAt: null });
    await mutate('deleteSession', { id: session?.id }, 'deletedId');
    expect(await replayed()).toEqual({ title: 'since', deletedAt: expect.any(String) });
    await mutate('deleteSession', { id: session?.id, permanent: true }, 'deletedId');
    (await sendTo(side.app, name, input, PAYLOAD[name])).expectError('SESSION_NOT_FOUND');
  });

  it('is as before without one, and with null', async () => {
    const input = await inputOf(name, `${name} plain`);
    const answer = await sendTo(side.app, name, { ...input, idempotencyKey: null });
    answer.expectOk();
    expect(answer.sql.map(({ sql }) => sql).join()).not.toContain('idempotency_keys');
    expect(answer.sql).toHaveLength(name === 'updateSession' || name === 'endSession' ? 2 : 1);
  });

  it('takes a key of 1 to 200 characters that can be stored', async () => {
    const input = await inputOf(name, `${name} key`);
    for (const idempotencyKey of ['', 'x'.repeat(201), '𝒜'.repeat(201), 'a\0', '\ud800']) {
      const error = await refuse(name, { ...input, idempotencyKey }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toMatchObject({ field: 'input.idempotencyKey' });
    }
    const idempotencyKey = `${name}${'𝒜'.repeat(200 - name.length)}`;
    (await sendTo(side.app, name, { ...input, idempotencyKey })).expectOk();
    (await sendTo(side.app, name, { ...input, idempotencyKey })).expectOk();
  });
});

describe('a key', () => {
  it('costs a statement to take it and one to keep the result, in the transaction of the change', async () => {
    const { id } = await create();
    const input = { sessionId: id, message: { role: 'USER', content: 'a' }, idempotencyKey: randomUUID() };
    expect((await side.send('appendMessage', input, 'message { position }')).sql).toHaveLength(3);
    expect((await side.send('appendMessage', input, 'message { position }')).sql).toHaveLength(3);
  });

  it('belongs to one field', async () => {
    const idempotencyKey = randomUUID();
    const { id } = await create({ idempotencyKey });
    await refuse('endSession', { id, idempotencyKey }, 'IDEMPOTENCY_CONFLICT');
  });

  it('belongs to who calls, whatever their name', async () => {
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

  it('shows nothing of a session whose agent its owner may no longer see', async () => {
    const { sessionId } = await create({ agentId: 'ours' });
    const input = { sessionId, message: { role: 'USER' as const, content: 'a' }, idempotencyKey: randomUUID() };
    await appendMessage(callerOf({ ...LOCAL_VIEWER, agentIds: ['ours'] }), input);
    const call = appendMessage(callerOf({ ...LOCAL_VIEWER, agentIds: ['other'] }), input);
    await expect(call).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
  });

  it('does not mind the order of fields, but tells null from left out', async () => {
    const idempotencyKey = randomUUID();
    const { id, sessionId } = await create();
    await mutate('updateSession', { id, title: 'a', metadata: { a: 1, b: { c: 1, d: 2 } }, idempotencyKey }, '__typename');
    await mutate('updateSession', { metadata: { b: { d: 2, c: 1 }, a: 1 }, idempotencyKey, id, title: 'a' }, '__typename');
    const cleared = { id, title: 'a', metadata: { a: 1, b: { c: 1, d: 2 } }, label: null, idempotencyKey };
    await refuse('updateSession', cleared, 'IDEMPOTENCY_CONFLICT');
    expect(typesOf(await side.events(sessionId))).toEqual(['CREATED', 'UPDATED']);
  });

  it('takes metadata too deep for the hash as it is without one', async () => {
    const deep = JSON.parse(`${'{"a":'.repeat(220)}1${'}'.repeat(220)}`);
    const { id } = await create();
    await refuse('updateSession', { id, metadata: deep, idempotencyKey: randomUUID() }, 'BAD_USER_INPUT');
  });
});

describe('createSession with a key', () => {
  it('was created once', async () => {
    const input = { title: 'counted', idempotencyKey: randomUUID() };
    const answers = await Promise.all(sendAll('createSession', Array(20).fill(input), 'created'));
    const created = answers.map(answer => (answer.expectOk().createSession as unknown as { created: boolean } | undefined)?.created);
    expect(created.filter(Boolean)).toHaveLength(1);
  });

  it('finds the holder of the session key where ifExists is RETURN, once and for all', async () => {
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

  it('makes one session of one session key, however many keys call for it', async () => {
    const calls = Array.from({ length: 20 }, () => ({ key: 'wanted', ifExists: 'RETURN', idempotencyKey: randomUUID() }));
    const answers = await Promise.all(sendAll('createSession', calls, 'session { sessionId }'));
    expect(new Set(answers.map(answer => answer.expectOk().createSession?.session.sessionId)).size).toBe(1);
    const refused = calls.map(({ idempotencyKey }) => ({ key: 'scarce', idempotencyKey: `${idempotencyKey}-` }));
    expect((await outcomesOf(sendAll('createSession', refused))).sort()).toEqual([...Array(19).fill('KEY_TAKEN'), 'OK']);
  });
});

describe('messages appended with a key', () => {
  it('are MESSAGE_NOT_FOUND once they are deleted', async () => {
    const { id, sessionId } = await create();
    const messages = ['a', 'b', 'c'].map(content => ({ role: 'USER', content }));
    const input = { sessionId: id, messages, idempotencyKey: randomUUID() };
    const appended = await mutate<{ messages: { messageId: string }[] }>('appendMessages', input, 'messages { messageId }');
    expect(await mutate('appendMessages', input, 'messages { messageId }')).toEqual(appended);
    const messageId = appended.messages[1]?.messageId;
    await mutate('deleteMessage', { id: messageId, sessionId }, 'deletedId');
    const error = await refuse('appendMessages', input, 'MESSAGE_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id: messageId });
    expect(await side.messages(id)).toHaveLength(2);
  });

  it('may branch', async () => {
    const { id } = await create();
    const { id: parentId } = await side.append(id, { content: 'root' });
    await side.append(id, { content: 'abandoned' });
    const input = { sessionId: id, message: { role: 'USER', content: 'branch', parentId }, idempotencyKey: randomUUID() };
    const answers = await Promise.all(sendAll('appendMessage', Array(10).fill(input), PAYLOAD.appendMessage));
    const [first, ...others] = answers.map(answer => answer.expectOk());
    for (const other of others) expect(other).toEqual(first);
    expect((await side.messages(id)).map(({ content, active }) => [content, active])).toEqual([
      ['root', true],
      ['abandoned', false],
      ['branch', true],
    ]);
  });

  it('are delivered at once, and once', async () => {
    const { id, sessionId } = await create();
    const stream = await side.app.subscribe<{ messageAdded: { message: { content: string } } }>(
      'subscription ($id: ID!) { messageAdded(sessionId: $id) { message { content } } }',
      { id: sessionId },
    );
    const input = { sessionId: id, message: { role: 'USER', content: 'once' }, idempotencyKey: randomUUID() };
    await Promise.all(sendAll('appendMessage', Array(10).fill(input)));
    await side.append(id, { content: 'then' });
    expect((await stream.next()).messageAdded.message.content).toBe('once');
    expect((await stream.next()).messageAdded.message.content).toBe('then');
    await stream.close();
  });
});

describe('a call under way elsewhere', () => {
  const clients: pg.Client[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end();
  });

  /** Another process that has taken the key and is not done. */
  async function holdKey(key: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: side.app.databaseUrl });
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

  const waiting = async () => {
    const [row] = await side.rows<{ waiting: boolean }>(
      `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%idempotency_keys%') as waiting`,
    );
    return row?.waiting === true;
  };

  it('is waited for, and leaves the call to the next where its process dies', async () => {
    const { id } = await create();
    const idempotencyKey = randomUUID();
    const holder = await holdKey(idempotencyKey);
    const input = { sessionId: id, message: { role: 'USER', content: 'survivor' }, idempotencyKey };
    const answers = sendAll('appendMessage', Array(10).fill(input));
    await expect.poll(waiting).toBe(true);
    const [backend] = (await holder.query<{ pid: number }>('select pg_backend_pid() as pid')).rows;
    await side.rows('select pg_terminate_backend($1)', [backend?.pid]);
    expect(await outcomesOf(answers)).toEqual(Array(10).fill('OK'));
    expect(await side.messages(id)).toHaveLength(1);
  });

  it('is SERVICE_UNAVAILABLE where it takes too long', async () => {
    const idempotencyKey = randomUUID();
    const holder = await holdKey(idempotencyKey);
    const impatient = callerOf(LOCAL_VIEWER, new CallsInFlight(200));
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => createSession(impatient, { idempotencyKey })));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'SERVICE_UNAVAILABLE' } });
    await holder.query('rollback');
    expect(await createSession(callerOf(LOCAL_VIEWER), { idempotencyKey })).toMatchObject({ created: true });
  });

  it('limits only the wait for the key, not that for the session', async () => {
    const { sessionId } = await create();
    const holder = await holdKey(randomUUID());
    await holder.query('select from aria_engine.chat_sessions where id = $1 for update', [sessionId]);
    const message = { role: 'USER' as const, content: 'patient' };
    const appended = appendMessage(callerOf(LOCAL_VIEWER, new CallsInFlight(100)), { sessionId, message, idempotencyKey: randomUUID() });
    const settled = appended.then(
      () => 'appended',
      (error: unknown) => error,
    );
    const waited = async () =>
      (
        await side.rows<{ long: boolean }>(
          `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
            and query like '%chat_sessions%' and clock_timestamp() - query_start > interval '300 milliseconds') as long`,
        )
      )[0]?.long;
    await expect.poll(waited).toBe(true);
    await holder.query('rollback');
    expect(await settled).toBe('appended');
  });
});
