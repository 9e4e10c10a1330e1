import { Client } from 'pg';
import { describe, expect, it } from 'vitest';
import { explain } from '../../performance/query-plan.ts';
import { SESSION, type SessionView, typesOf, useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi();
const { append, create, expectError } = api;

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UNKNOWN = '00000000-0000-7000-8000-000000000000';

async function createSessionWithStatus(status: string, input: Record<string, unknown> = {}): Promise<SessionView> {
  const session = await create(input);
  await api.rows('update aria_engine.chat_sessions set status = $2::aria_engine.session_status where id = $1', [session.sessionId, status]);
  return session;
}

async function readSession(sessionId: string): Promise<SessionView> {
  const session = await api.session(sessionId);
  if (session === null) throw new Error(`There is no session ${sessionId}.`);
  return session;
}

describe('appendMessage', () => {
  it('needs only role and content and sets defaults for the other fields', async () => {
    const { id, sessionId } = await create();
    const message = await append(id, { content: 'hello' });
    const { messageId, createdAt } = message;
    expect(messageId).toMatch(UUID_V7);
    expect(Buffer.from(message.id, 'base64').toString()).toBe(`Message:${sessionId}:${messageId}`);
    expect(message).toEqual({
      id: message.id,
      messageId,
      position: 1,
      role: 'USER',
      content: 'hello',
      agentId: null,
      model: null,
      provider: null,
      latencyMs: null,
      stopReason: null,
      metadata: {},
      active: true,
      createdAt,
      parent: null,
      usage: null,
      parts: [{ __typename: 'TextPart', type: 'text', text: 'hello' }],
    });
    expect(await readSession(id)).toMatchObject({
      messageCount: 1,
      lastMessageAt: createdAt,
      lastActivityAt: createdAt,
      updatedAt: createdAt,
      status: 'ACTIVE',
      version: 1,
    });
    expect((await api.events(sessionId)).slice(1)).toEqual([{ type: 'MESSAGE_ADDED', payload: { messageId, position: 1 } }]);
  });

  it('stores every field of the input', async () => {
    const { id } = await create();
    const fields = {
      agentId: 'main',
      model: 'm',
      provider: 'p',
      latencyMs: 1_234,
      stopReason: 'end_turn',
      metadata: { a: [null, { b: 1 }] },
    };
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4, totalTokens: 99, costUsd: 0.000_000_001 };
    const message = { ...fields, usage, role: 'ASSISTANT', content: ' as it is \n', createdAt: '2020-02-29T12:00:00.001+02:00' };
    expect(await append(id, message)).toMatchObject({ ...message, createdAt: '2020-02-29T10:00:00.001Z' });
    expect(await readSession(id)).toMatchObject({ lastMessageAt: '2020-02-29T10:00:00.001Z', usage });
  });

  it('treats null like an absent field', async () => {
    const { id } = await create();
    const names = ['parts', 'agentId', 'model', 'provider', 'usage', 'latencyMs', 'stopReason', 'metadata', 'parentId', 'createdAt'];
    const nulls = Object.fromEntries(names.map(name => [name, null]));
    expect(await append(id, { content: 'one', ...nulls })).toMatchObject({ position: 1, metadata: {}, usage: null, parent: null });
    expect(await append(id, { content: 'two', ...nulls })).toMatchObject({ position: 2, parent: { position: 1 } });
  });

  it('needs one statement if only core fields are selected, and one more for other fields', async () => {
    const { id } = await create();
    const input = { sessionId: id, message: { role: 'USER', content: 'hello', usage: { inputTokens: 1 }, metadata: { a: 1 } } };
    const core = await api.send('appendMessage', input, 'message { id messageId position role active createdAt }');
    expect(core.sql).toHaveLength(1);
    expect((await api.send('appendMessage', input, 'message { content parts { type } usage { totalTokens } }')).sql).toHaveLength(2);
    expect((await api.send('appendMessage', input, 'message { id } session { status usage { totalTokens } }')).sql).toHaveLength(2);
  });

  it('returns the session as it is after the write', async () => {
    const { id } = await create();
    const { session } = await api.mutate<{ session: SessionView }>(
      'appendMessage',
      { sessionId: id, message: { role: 'USER', content: 'hello', usage: { outputTokens: 5 } } },
      `session { ${SESSION} }`,
    );
    expect(session).toEqual(await api.session(id));
    expect(session).toMatchObject({ messageCount: 1, usage: { outputTokens: 5, totalTokens: 5 } });
  });

  it('accepts the bare UUID of a session in upper case', async () => {
    const { sessionId } = await create();
    expect(await append(sessionId.toUpperCase(), { content: 'hello' })).toMatchObject({ position: 1 });
  });

  it.each(['USER', 'ASSISTANT', 'SYSTEM', 'TOOL', 'OTHER'])('accepts the role %s', async role => {
    const { id } = await create();
    expect(await append(id, { role, content: 'hello' })).toMatchObject({ role });
  });

  it('returns SESSION_NOT_FOUND for ids that are unknown, malformed or of a message', async () => {
    const session = await create();
    const message = await append(session.id, { content: 'hello' });
    for (const sessionId of [UNKNOWN, 'nonsense', '', message.id, message.messageId, 'a\0', '\ud800']) {
      const error = await expectError('appendMessage', { sessionId, message: { role: 'USER', content: 'lost' } }, 'SESSION_NOT_FOUND');
      expect(error.extensions.details).toEqual({ id: sessionId });
    }
  });

  it.each(['COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'])('returns SESSION_ENDED and writes nothing if the session is %s', async status => {
    const { id, sessionId } = await create();
    const first = await append(id, { content: 'hello' });
    await api.rows('update aria_engine.chat_sessions set status = $2::aria_engine.session_status where id = $1', [sessionId, status]);
    const before = await readSession(id);
    for (const parentId of [undefined, first.id]) {
      const error = await expectError(
        'appendMessage',
        { sessionId: id, message: { role: 'USER', content: 'late', parentId } },
        'SESSION_ENDED',
      );
      expect(error.extensions.details).toEqual({ status });
    }
    expect(await readSession(id)).toEqual(before);
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'MESSAGE_ADDED']);
  });
});

describe('appendMessage as activity of the session', () => {
  it.each([
    ['SPAWNING', 'WORKING'],
    ['STALLED', 'WORKING'],
    ['ACTIVE', 'ACTIVE'],
    ['WORKING', 'WORKING'],
  ])('changes the status %s to %s and increments the version only if the status changes', async (from, to) => {
    const { id, sessionId } = await createSessionWithStatus(from);
    const changed = from !== to;
    await append(id, { content: 'hello' });
    expect(await readSession(id)).toMatchObject({ status: to, version: changed ? 2 : 1, endedAt: null, statusReason: null });
    expect((await api.events(sessionId)).slice(1)).toEqual([
      expect.objectContaining({ type: 'MESSAGE_ADDED' }),
      ...(changed ? [{ type: 'STATUS_CHANGED', payload: expect.objectContaining({ from, to, reason: null }) }] : []),
    ]);
    await append(id, { content: 'again' });
    expect(await readSession(id)).toMatchObject({ version: changed ? 2 : 1 });
  });

  it('never sets lastActivityAt to an earlier time', async () => {
    const { id, sessionId } = await create();
    await api.rows(`update aria_engine.chat_session_activity set last_activity_at = '2100-01-01T00:00:00Z' where session_id = $1`, [
      sessionId,
    ]);
    await append(id, { content: 'hello' });
    expect(await readSession(id)).toMatchObject({ lastActivityAt: '2100-01-01T00:00:00.000Z' });
  });

  it('reports in the STATUS_CHANGED event how long the session was idle', async () => {
    const { id, sessionId } = await createSessionWithStatus('STALLED');
    await api.rows(`update aria_engine.chat_session_activity set last_activity_at = now() - interval '7 minutes' where session_id = $1`, [
      sessionId,
    ]);
    await append(id, { content: 'awake' });
    const statusChanged = (await api.events(sessionId)).find(event => event.type === 'STATUS_CHANGED');
    expect(Number(statusChanged?.payload.idleMs)).toBeGreaterThanOrEqual(7 * 60_000);
  });

  it('sets lastMessageAt to the createdAt of the last message, even if earlier messages have a later one', async () => {
    const { id } = await create();
    await append(id, { content: 'late', createdAt: '2030-01-01T00:00:00.000Z' });
    const early = await append(id, { content: 'early', createdAt: '2001-01-01T00:00:00.000Z' });
    expect(await readSession(id)).toMatchObject({ lastMessageAt: '2001-01-01T00:00:00.000Z' });
    await api.mutate('deleteMessage', { id: early.id, sessionId: id }, 'deletedId');
    expect(await readSession(id)).toMatchObject({ lastMessageAt: '2030-01-01T00:00:00.000Z' });
  });

  it('sets lastMessageAt to the createdAt of the last of several messages', async () => {
    const { id } = await create();
    const messages = ['2030-01-01T00:00:00.000Z', '2002-01-01T00:00:00.000Z'].map(createdAt => ({ role: 'USER', content: 'a', createdAt }));
    await api.mutate('appendMessages', { sessionId: id, messages }, 'messages { id }');
    expect(await readSession(id)).toMatchObject({ lastMessageAt: '2002-01-01T00:00:00.000Z' });
  });
});

describe('appendMessage with a parentId', () => {
  it('reads fewer than 10 rows in a session of 20,000 messages if the parent is the leaf', async () => {
    const { id, sessionId } = await create();
    await api.rows(
      `with grown as (
         insert into aria_engine.chat_messages (session_id, position, id, role, content, parent_position)
         select $1::uuid, n, gen_random_uuid(), 'USER', 'm' || n, nullif(n - 1, 0) from generate_series(1, 20000) n
       ) update aria_engine.chat_session_activity set message_count = 20000, next_position = 20001, leaf_position = 20000 where session_id = $1`,
      [sessionId],
    );
    const [leaf] = await api.rows<{ id: string }>('select id from aria_engine.chat_messages where session_id = $1 and position = 20000', [
      sessionId,
    ]);
    const answer = await api.send(
      'appendMessage',
      { sessionId: id, message: { role: 'USER', content: 'next', parentId: leaf?.id } },
      'message { active position parent { position } }',
    );
    expect(answer.expectOk()).toMatchObject({ appendMessage: { message: { active: true, position: 20001, parent: { position: 20000 } } } });
    const marking = answer.sql.filter(({ sql }) => sql.includes('with recursive path'));
    expect(marking).toHaveLength(1);
    const client = new Client({ connectionString: api.app.databaseUrl });
    await client.connect();
    try {
      for (const statement of marking) expect((await explain(client, statement)).rowsRead).toBeLessThan(10);
    } finally {
      await client.end();
    }
  });
});

describe('the token limit of the session', () => {
  it('fails the session when usage reaches 95 % of it, and keeps the message that reached it', async () => {
    const { id, sessionId } = await create({ tokenLimit: 1_000 });
    await append(id, { content: 'far', usage: { inputTokens: 949 } });
    expect(await readSession(id)).toMatchObject({ status: 'ACTIVE', version: 1 });
    const message = await append(id, { content: 'near', usage: { outputTokens: 1 } });
    const session = await readSession(id);
    expect(session).toMatchObject({ status: 'FAILED', statusReason: 'Token limit exceeded', version: 2, messageCount: 2 });
    expect(session.endedAt).toBe(message.createdAt);
    expect((await api.events(sessionId)).slice(2)).toEqual([
      { type: 'MESSAGE_ADDED', payload: { messageId: message.messageId, position: 2 } },
      {
        type: 'STATUS_CHANGED',
        payload: {
          from: 'ACTIVE',
          to: 'FAILED',
          reason: 'Token limit exceeded',
          idleMs: expect.any(Number),
          usage: { inputTokens: 949, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 950, costNanoUsd: 0 },
        },
      },
    ]);
    await expectError('appendMessage', { sessionId: id, message: { role: 'USER', content: 'late' } }, 'SESSION_ENDED');
  });

  it('writes one STATUS_CHANGED event from the old status to FAILED if the message would also revive the session', async () => {
    for (const from of ['SPAWNING', 'STALLED', 'WORKING']) {
      const { id, sessionId } = await createSessionWithStatus(from, { tokenLimit: 10 });
      await append(id, { content: 'all at once', usage: { totalTokens: 10 } });
      expect(await readSession(id)).toMatchObject({ status: 'FAILED', version: 2 });
      expect((await api.events(sessionId)).slice(1)).toMatchObject([
        { type: 'MESSAGE_ADDED' },
        { type: 'STATUS_CHANGED', payload: { from, to: 'FAILED' } },
      ]);
    }
  });

  it('counts the reported totalTokens and has no effect without usage or without a limit', async () => {
    const limited = await create({ tokenLimit: 100 });
    await append(limited.id, { content: 'much, but not in total', usage: { inputTokens: 5_000, totalTokens: 94 } });
    await append(limited.id, { content: 'no usage' });
    expect(await readSession(limited.id)).toMatchObject({ status: 'ACTIVE', usage: { inputTokens: 5_000, totalTokens: 94 } });
    const free = await create();
    await append(free.id, { content: 'much', usage: { totalTokens: 1_000_000_000_000 } });
    expect(await readSession(free.id)).toMatchObject({ status: 'ACTIVE', usage: { totalTokens: 1_000_000_000_000 } });
  });

  it('does not fail a session that an import left above the limit when a message without usage is appended', async () => {
    const { id, sessionId } = await create({ tokenLimit: 100 });
    await api.rows('update aria_engine.chat_session_activity set total_tokens = 500 where session_id = $1', [sessionId]);
    await append(id, { content: 'no usage' });
    expect(await readSession(id)).toMatchObject({ status: 'ACTIVE' });
  });
});

describe('the usage of a message', () => {
  it('is added to the usage of the session; totalTokens defaults to the sum of the four counts', async () => {
    const { id } = await create();
    const first = await append(id, {
      content: 'a',
      usage: { inputTokens: 1, outputTokens: 20, cacheReadTokens: 300, cacheWriteTokens: 4_000, costUsd: 0.1 },
    });
    expect(first.usage).toEqual({
      inputTokens: 1,
      outputTokens: 20,
      cacheReadTokens: 300,
      cacheWriteTokens: 4_000,
      totalTokens: 4_321,
      costUsd: 0.1,
    });
    await append(id, { content: 'b', usage: { inputTokens: null, totalTokens: 7, costUsd: 0.2 } });
    await append(id, { content: 'c', usage: {} });
    await append(id, { content: 'd' });
    expect((await readSession(id)).usage).toEqual({
      inputTokens: 1,
      outputTokens: 20,
      cacheReadTokens: 300,
      cacheWriteTokens: 4_000,
      totalTokens: 4_328,
      costUsd: 0.3,
    });
    const usages = (await api.messages(id)).map(({ usage }) => usage);
    expect(usages.slice(2)).toEqual([
      { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costUsd: 0 },
      null,
    ]);
  });

  it('sums costs exactly, in billionths of a dollar', async () => {
    const { id } = await create();
    const costs = [0.000_000_001, 123_456.789_012_345, 0.000_000_000_4, 0.1, 0.1, 0.1];
    for (const costUsd of costs)
      expect((await append(id, { content: 'x', usage: { costUsd } })).usage).toMatchObject({ costUsd: Number(costUsd.toFixed(9)) });
    expect((await readSession(id)).usage).toMatchObject({ costUsd: 123_457.089_012_346 });
  });

  it('is capped at Number.MAX_SAFE_INTEGER in the message, the session, its tree and its agent', async () => {
    const { id, sessionId } = await create({ agentId: 'glutton' });
    const max = Number.MAX_SAFE_INTEGER;
    const usage = { inputTokens: max, outputTokens: max };
    await append(id, { content: 'a', usage });
    await append(id, { content: 'b', usage });
    await append((await create({ agentId: 'glutton', parentId: id })).id, { content: 'c', usage });
    const answer = await api.app.gql(
      `query ($id: ID!) { session(id: $id) { agent { usage { totalTokens } } usage { inputTokens totalTokens } tree: usage(scope: TREE) { inputTokens }
        messages { nodes { usage { totalTokens } } } } }`,
      { id: sessionId },
    );
    expect(answer.expectOk().session).toEqual({
      agent: { usage: { totalTokens: max } },
      usage: { inputTokens: max, totalTokens: max },
      tree: { inputTokens: max },
      messages: { nodes: [{ usage: { totalTokens: max } }, { usage: { totalTokens: max } }] },
    });
  });

  it('returns BAD_USER_INPUT for negative values and a cost of 10,000,000 dollars', async () => {
    const { id } = await create();
    const counts = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens'];
    for (const [field, value] of [...counts.map(count => [count, -1] as const), ['costUsd', -0.01], ['costUsd', 1e7]] as const) {
      const input = { sessionId: id, message: { role: 'USER', content: 'x', usage: { [field]: value } } };
      const error = await expectError('appendMessage', input, 'BAD_USER_INPUT');
      expect(error.extensions.details).toEqual({ field: `input.message.usage.${field}` });
    }
    const error = await expectError(
      'appendMessage',
      { sessionId: id, message: { role: 'USER', content: 'x', latencyMs: -1 } },
      'BAD_USER_INPUT',
    );
    expect(error.extensions.details).toEqual({ field: 'input.message.latencyMs' });
  });
});

describe('the derived title', () => {
  it('is set once, from the first user message with text, without an event or a new version', async () => {
    const { id, sessionId } = await create();
    await append(id, { role: 'SYSTEM', content: 'You are an agent.' });
    await append(id, { role: 'USER', content: ' \n ' });
    await append(id, { role: 'USER', parts: [{ image: { mimeType: 'image/png', url: 'https://example.org/a.png' } }] });
    expect(await readSession(id)).toMatchObject({ title: `Session ${sessionId.slice(0, 8)}` });
    await append(id, { role: 'USER', content: '  Please\n\n write   a poem ' });
    await append(id, { role: 'USER', content: 'Another.' });
    expect(await readSession(id)).toMatchObject({ title: 'Please write a poem', givenTitle: null, version: 1 });
    expect(new Set(typesOf(await api.events(sessionId)))).toEqual(new Set(['CREATED', 'MESSAGE_ADDED']));
  });

  it('is cut between words after 36 characters, or at 59 characters if there is no later space', async () => {
    const words = await create();
    await append(words.id, { content: `${'abcd '.repeat(11)}abcdefghij` });
    expect(await readSession(words.id)).toMatchObject({ title: `${'abcd '.repeat(11).trim()}…` });
    const unbroken = await create();
    await append(unbroken.id, { content: `short ${'💡'.repeat(100)}` });
    expect(await readSession(unbroken.id)).toMatchObject({ title: `short ${'💡'.repeat(53)}…` });
  });

  it('is not shown if the session has a title, displayName or subject', async () => {
    for (const field of ['title', 'displayName', 'subject']) {
      const { id } = await create({ [field]: 'named' });
      await append(id, { content: 'hello' });
      expect(await readSession(id)).toMatchObject({ title: 'named' });
    }
  });
});

describe('the parts of a message', () => {
  it('are returned as they were given, with content as the first part', async () => {
    const { id } = await create();
    const message = await append(id, {
      role: 'ASSISTANT',
      content: 'first',
      parts: [
        { thinking: { text: 'hm', redacted: true } },
        { thinking: { text: 'so' } },
        { text: { text: 'second' } },
        { toolCall: { callId: 'c1', name: 'search', arguments: { q: ['a', null], deep: { n: 1.5 } } } },
        { toolCall: { callId: 'c2', name: 'search', arguments: 'raw' } },
        { toolResult: { callId: 'c1', name: 'search', content: 'found', details: { hits: 0 } } },
        { toolResult: { callId: 'c2', content: 'broken', isError: true } },
        { image: { mimeType: 'image/png', data: 'AAAA' } },
        { image: { mimeType: 'image/png', url: 'https://example.org/a.png' } },
        { other: { type: 'audio', seconds: 3 } },
      ],
    });
    expect(message.content).toBe('first\nsecond');
    expect(message.parts).toEqual([
      { __typename: 'TextPart', type: 'text', text: 'first' },
      { __typename: 'ThinkingPart', type: 'thinking', thought: 'hm', redacted: true },
      { __typename: 'ThinkingPart', type: 'thinking', thought: 'so', redacted: false },
      { __typename: 'TextPart', type: 'text', text: 'second' },
      { __typename: 'ToolCallPart', type: 'toolCall', callId: 'c1', name: 'search', arguments: { q: ['a', null], deep: { n: 1.5 } } },
      { __typename: 'ToolCallPart', type: 'toolCall', callId: 'c2', name: 'search', arguments: 'raw' },
      {
        __typename: 'ToolResultPart',
        type: 'toolResult',
        callId: 'c1',
        resultOf: 'search',
        content: 'found',
        isError: false,
        details: { hits: 0 },
      },
      { __typename: 'ToolResultPart', type: 'toolResult', callId: 'c2', resultOf: null, content: 'broken', isError: true, details: null },
      { __typename: 'ImagePart', type: 'image', mimeType: 'image/png', url: null, data: 'AAAA' },
      { __typename: 'ImagePart', type: 'image', mimeType: 'image/png', url: 'https://example.org/a.png', data: null },
      { __typename: 'OtherPart', type: 'audio', other: { type: 'audio', seconds: 3 } },
    ]);
  });

  it('determine the content: the text parts, else the tool results, else an empty string', async () => {
    const { id } = await create();
    const result = (content: string) => ({ toolResult: { callId: 'c', content } });
    expect((await append(id, { parts: [result('a'), result('b')] })).content).toBe('a\nb');
    expect((await append(id, { parts: [result('a'), { text: { text: 'b' } }] })).content).toBe('b');
    expect((await append(id, { parts: [{ thinking: { text: 'hm' } }] })).content).toBe('');
    expect(await append(id, { content: '' })).toMatchObject({ content: '', parts: [{ type: 'text', text: '' }] });
  });

  it.each([
    ['neither content nor parts', {}, 'input.message'],
    ['only an empty list of parts', { parts: [] }, 'input.message'],
    ['an image without url and data', { parts: [{ image: { mimeType: 'image/png' } }] }, 'input.message.parts.0.image'],
    [
      'an image with both url and data',
      { parts: [{ image: { mimeType: 'image/png', url: 'u', data: 'd' } }] },
      'input.message.parts.0.image',
    ],
    ['an other part without a type', { parts: [{ text: { text: 'a' } }, { other: { a: 1 } }] }, 'input.message.parts.1.other'],
    ['an other part whose type is no string', { parts: [{ other: { type: 1 } }] }, 'input.message.parts.0.other'],
    ['an other part that is a list', { parts: [{ other: ['type'] }] }, 'input.message.parts.0.other'],
    ['metadata that is no object', { content: 'a', metadata: [] }, 'input.message.metadata'],
    ['a model name of 201 characters', { content: 'a', model: 'x'.repeat(201) }, 'input.message.model'],
  ])('return BAD_USER_INPUT for %s', async (_what, message, field) => {
    const { id } = await create();
    const error = await expectError('appendMessage', { sessionId: id, message: { role: 'USER', ...message } }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toMatchObject({ field });
  });

  it.each([
    ['two kinds', [{ text: { text: 'a' }, thinking: { text: 'b' } }]],
    ['no kind', [{}]],
    ['a kind that is null', [{ text: null }]],
    ['null arguments', [{ toolCall: { callId: 'c', name: 'n', arguments: null } }]],
  ])('return BAD_USER_INPUT if a part has %s', async (_what, parts) => {
    const { id } = await create();
    const answer = await api.send('appendMessage', { sessionId: id, message: { role: 'USER', parts } });
    expect(answer.expectError('BAD_USER_INPUT').extensions.details).toMatchObject({
      field: expect.stringMatching(/^input\.message\.parts\.0/),
    });
  });

  it('return BAD_USER_INPUT for NUL and lone surrogates in any text, including JSON values and keys', async () => {
    const { id } = await create();
    const places: [string, (text: string) => object][] = [
      ['content', text => ({ content: text })],
      ['agentId', text => ({ content: 'a', agentId: text })],
      ['stopReason', text => ({ content: 'a', stopReason: text })],
      ['parts.0.text.text', text => ({ parts: [{ text: { text } }] })],
      ['parts.0.thinking.text', text => ({ parts: [{ thinking: { text } }] })],
      ['parts.0.toolCall.callId', text => ({ parts: [{ toolCall: { callId: text, name: 'n', arguments: 1 } }] })],
      ['parts.0.toolCall.arguments.a', text => ({ parts: [{ toolCall: { callId: 'c', name: 'n', arguments: { a: { [text]: 1 } } } }] })],
      [
        'parts.1.toolResult.details.0',
        text => ({ parts: [{ text: { text: 'a' } }, { toolResult: { callId: 'c', content: 'a', details: [text] } }] }),
      ],
      ['parts.0.image.data', text => ({ parts: [{ image: { mimeType: 'image/png', data: text } }] })],
      ['parts.0.other.type', text => ({ parts: [{ other: { type: text } }] })],
      ['metadata', text => ({ content: 'a', metadata: { [text]: 1 } })],
    ];
    for (const [field, message] of places) {
      for (const text of ['\0', '\ud800', 'a\udc00b']) {
        const error = await expectError('appendMessage', { sessionId: id, message: { role: 'USER', ...message(text) } }, 'BAD_USER_INPUT');
        expect(error.extensions.details).toEqual({ field: `input.message.${field}` });
      }
    }
    expect(await api.messages(id)).toEqual([]);
  });
});

describe('the size of a message', () => {
  it.each([
    ['a', 100_000],
    ['𝒜', 100_000],
    ['é\n"\\', 25_000],
  ])('is limited to 100,000 code points of content (%j)', async (text, times) => {
    const { id } = await create();
    const content = text.repeat(times);
    expect((await append(id, { content })).content === content).toBe(true);
    const error = await expectError(
      'appendMessage',
      { sessionId: id, message: { role: 'USER', content: `${content}x` } },
      'MESSAGE_TOO_LARGE',
    );
    expect(error.extensions).toMatchObject({
      details: { field: 'input.message.content', length: 100_001, maxLength: 100_000 },
      retryable: false,
    });
    expect(await readSession(id)).toMatchObject({ messageCount: 1 });
  });

  it('may be 100,000 characters of distinct words in any script', async () => {
    const { id } = await create();
    const letter = (of: number) => String.fromCodePoint(0x2_0000 + of);
    const words = Array.from({ length: 25_000 }, (_, index) => `${letter(index)}-${letter(index + 13)} `).join('');
    expect((await append(id, { content: words })).position).toBe(1);
    const cjk = Array.from(
      { length: 33_333 },
      (_, index) => `${String.fromCodePoint(0x4e00 + (index % 20_000), 0xac00 + (index % 11_000))} `,
    );
    expect((await append(id, { content: cjk.join('') })).position).toBe(2);
    const addresses = Array.from({ length: 6_666 }, (_, index) => `a${index}.bc/d${index % 10} `.slice(0, 15)).join('');
    expect((await append(id, { content: addresses.slice(0, 100_000) })).position).toBe(3);
  });

  it('is limited to 1,000,000 characters of content and parts together, counted without JSON escapes', async () => {
    const { id } = await create();
    const message = (length: number) => ({
      role: 'ASSISTANT',
      content: '\n'.repeat(99_990),
      parts: [{ image: { mimeType: 'image/png', data: 'A'.repeat(length - 99_990 - 'image/png'.length) } }],
    });
    expect((await append(id, message(1_000_000))).position).toBe(1);
    const error = await expectError('appendMessage', { sessionId: id, message: message(1_000_001) }, 'MESSAGE_TOO_LARGE');
    expect(error.extensions.details).toEqual({ field: 'input.message', length: 1_000_001, maxLength: 1_000_000 });
  });

  it('is limited to 64 KiB of metadata', async () => {
    const { id } = await create();
    const metadata = { text: 'x'.repeat(65_536 - '{"text":""}'.length) };
    expect(await append(id, { content: 'a', metadata })).toMatchObject({ metadata });
    const input = { sessionId: id, message: { role: 'USER', content: 'a', metadata: { text: `${metadata.text}x` } } };
    await expectError('appendMessage', input, 'BAD_USER_INPUT');
  });
});

describe('the parent of a message', () => {
  it('is the previous message by default', async () => {
    const { id } = await create();
    for (const content of ['a', 'b', 'c']) await append(id, { content });
    expect((await api.messages(id)).map(({ parent }) => parent?.position ?? null)).toEqual([null, 1, 2]);
  });

  it('starts a branch if it is an older message, and that branch becomes the active one', async () => {
    const { id } = await create();
    const [first, second] = [await append(id, { content: 'root' }), await append(id, { content: 'left' })];
    await append(id, { content: 'left leaf' });
    const right = await append(id, { content: 'right', parentId: first.id });
    expect(right).toMatchObject({ position: 4, parent: { position: 1 }, active: true });
    expect(await append(id, { content: 'right leaf' })).toMatchObject({ position: 5, parent: { position: 4 } });
    const active = async () => (await api.messages(id)).filter(message => message.active).map(({ position }) => position);
    expect(await active()).toEqual([1, 4, 5]);
    expect(await append(id, { content: 'left again', parentId: second.messageId })).toMatchObject({ position: 6, parent: { position: 2 } });
    expect(await active()).toEqual([1, 2, 6]);
    expect(await append(id, { content: 'sibling of the leaf', parentId: second.id })).toMatchObject({
      position: 7,
      parent: { position: 2 },
    });
    expect(await active()).toEqual([1, 2, 7]);
    const view = await api.app.gql('query ($id: ID!) { session(id: $id) { lastMessage { position } messages { nodes { position } } } }', {
      id,
    });
    expect(view.expectOk()).toEqual({
      session: { lastMessage: { position: 7 }, messages: { nodes: [{ position: 1 }, { position: 2 }, { position: 7 }] } },
    });
  });

  it('may be the leaf itself', async () => {
    const { id } = await create();
    const first = await append(id, { content: 'a' });
    expect(await append(id, { content: 'b', parentId: first.messageId.toUpperCase() })).toMatchObject({
      parent: { position: 1 },
      active: true,
    });
    expect((await api.messages(id)).map(({ active }) => active)).toEqual([true, true]);
  });

  it('needs five statements if it starts a branch, even if 100 messages leave the active branch', async () => {
    const { id } = await create();
    const first = await append(id, { content: 'root' });
    const messages = Array.from({ length: 100 }, (_, index) => ({ role: 'USER', content: `${index}` }));
    await api.mutate('appendMessages', { sessionId: id, messages }, '__typename');
    const input = { sessionId: id, message: { role: 'USER', content: 'other', parentId: first.id } };
    expect((await api.send('appendMessage', input, 'message { id position active }')).sql).toHaveLength(5);
  });

  it('returns MESSAGE_NOT_FOUND if it is of another session, malformed, of another type or deleted', async () => {
    const [{ id }, other] = [await create(), await create()];
    const [deleted, foreign] = [await append(id, { content: 'deleted' }), await append(other.id, { content: 'foreign' })];
    await api.mutate('deleteMessage', { sessionId: id, id: deleted.id }, 'deletedId');
    for (const parentId of [foreign.id, foreign.messageId, deleted.id, UNKNOWN, 'nonsense', '', id, 'a\0', '\ud800']) {
      const error = await expectError(
        'appendMessage',
        { sessionId: id, message: { role: 'USER', content: 'x', parentId } },
        'MESSAGE_NOT_FOUND',
      );
      expect(error.extensions.details).toEqual({ id: parentId });
    }
    expect(await readSession(id)).toMatchObject({ messageCount: 0 });
  });
});
