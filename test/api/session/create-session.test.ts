import { describe, expect, it } from 'vitest';
import { outcomesOf, SESSION, type SessionView, typesOf, useMutationApi } from './mutation-api.ts';
import { GIVEN_TEXTS, NULL_TEXTS, STORED_TEXTS, TEXT_FIELDS, TEXT_LIMITS, TRIMMED_FIELDS } from './text-fields.ts';

const api = useMutationApi({ env: { DEFAULT_AGENT: 'aria', MAIN_KEY: 'home', MAX_TOKEN_LIMIT: '5000' } });
const { create, expectError } = api;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ASTRAL = '𝒜';

describe('createSession', () => {
  it('needs no field and sets the defaults', async () => {
    const session = await create();
    const { id, sessionId, createdAt } = session;
    expect(sessionId).toMatch(UUID);
    expect(Buffer.from(id, 'base64').toString()).toBe(`Session:${sessionId}`);
    expect(session).toEqual({
      id,
      sessionId,
      externalId: null,
      key: null,
      kind: 'OTHER',
      agentId: 'aria',
      type: 'chat',
      status: 'ACTIVE',
      ...NULL_TEXTS,
      title: `Session ${sessionId.slice(0, 8)}`,
      givenTitle: null,
      tags: [],
      priority: 'NORMAL',
      tokenLimit: null,
      statusReason: null,
      messageCount: 0,
      compactionCount: 0,
      version: 1,
      metadata: {},
      depth: 0,
      origin: null,
      delivery: null,
      progress: { percent: 0 },
      parent: null,
      usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costUsd: 0 },
      createdAt,
      startedAt: createdAt,
      updatedAt: createdAt,
      lastActivityAt: createdAt,
      lastMessageAt: null,
      expectedCompletionAt: null,
      endedAt: null,
      archivedAt: null,
      pinnedAt: null,
      deletedAt: null,
      purgeAt: null,
    });
    expect(await api.events(sessionId)).toEqual([{ type: 'CREATED', payload: {} }]);
  });

  it('treats null like an absent field', async () => {
    const others = ['agentId', 'type', 'key', 'ifExists', 'status', 'tags', 'priority', 'tokenLimit', 'expectedDurationMs', 'parentId'];
    const objects = ['origin', 'delivery', 'metadata', 'startedAt'];
    const session = await create({ ...NULL_TEXTS, ...Object.fromEntries([...others, ...objects].map(name => [name, null])) });
    expect(session).toMatchObject({
      agentId: 'aria',
      type: 'chat',
      status: 'ACTIVE',
      priority: 'NORMAL',
      tags: [],
      metadata: {},
      version: 1,
    });
  });

  it('stores every field; names are trimmed, task and prompt are not', async () => {
    const parent = await create();
    const session = await create({
      ...GIVEN_TEXTS,
      agentId: ' Work Bot ',
      type: ' CRON ',
      key: ' tui-1 ',
      status: 'SPAWNING',
      tags: [' b ', 'a', 'b'],
      priority: 'CRITICAL',
      tokenLimit: 5000,
      expectedDurationMs: 60_000,
      parentId: parent.id,
      metadata: { a: { b: [1, null, 'c'] }, d: null },
      origin: { label: 'l', provider: 'telegram', surface: 's', chatType: 'group', from: 'f', to: 't', accountId: 'a', threadId: null },
      delivery: { channel: 'telegram', to: '7' },
      startedAt: '2026-02-12T21:25:00.5+01:00',
    });
    expect(session).toMatchObject({
      ...STORED_TEXTS,
      agentId: 'work-bot',
      type: 'cron',
      key: 'agent:work-bot:tui-1',
      kind: 'GROUP',
      status: 'SPAWNING',
      givenTitle: 'title',
      tags: ['b', 'a'],
      priority: 'CRITICAL',
      tokenLimit: 5000,
      parent: { sessionId: parent.sessionId },
      depth: 1,
      metadata: { a: { b: [1, null, 'c'] }, d: null },
      origin: { label: 'l', provider: 'telegram', surface: 's', chatType: 'group', from: 'f', to: 't', accountId: 'a', threadId: null },
      delivery: { channel: 'telegram', to: '7', accountId: null, threadId: null },
      startedAt: '2026-02-12T20:25:00.500Z',
      expectedCompletionAt: '2026-02-12T20:26:00.500Z',
    });
    expect(await api.events(session.sessionId)).toEqual([{ type: 'CREATED', payload: { parentId: parent.sessionId } }]);
  });

  it('needs one statement, and one more to read the session of the payload', async () => {
    const bare = await api.send('createSession', { key: 'counted' }, 'created');
    expect(bare.sql).toHaveLength(1);
    const complete = await api.send('createSession', {}, `created session { ${SESSION.replace('parent { sessionId }', '')} }`);
    expect(complete.sql).toHaveLength(2);
  });

  it.each(
    [
      ['SPAWNING', 'ACTIVE', 'WORKING'].map(status => [status, 'OK']),
      ['STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'].map(status => [status, 'BAD_USER_INPUT']),
    ].flat(),
  )('with the status %s returns %s', async (status, outcome) => {
    expect(await outcomesOf([api.send('createSession', { status })])).toEqual([outcome]);
  });

  it('shows as title the given title, else displayName, else subject', async () => {
    const titles = { displayName: 'name', subject: 'subject' };
    expect((await create({ ...titles, title: 'given' })).title).toBe('given');
    expect((await create(titles)).title).toBe('name');
    expect((await create({ subject: 'subject' })).title).toBe('subject');
  });
});

describe('createSession with a key', () => {
  it.each([
    ['main', undefined, 'agent:aria:home', 'MAIN', 'aria'],
    ['home', 'work', 'agent:work:home', 'MAIN', 'work'],
    ['agent:Other Bot:main', undefined, 'agent:other-bot:home', 'MAIN', 'other-bot'],
    ['agent:work:telegram:direct:7', 'WORK', 'agent:work:telegram:direct:7', 'DIRECT', 'work'],
    ['global', undefined, 'global', 'GLOBAL', 'aria'],
    ['global', 'elsewhere', 'global', 'GLOBAL', 'elsewhere'],
    ['unknown', undefined, 'unknown', 'UNKNOWN', 'aria'],
    ['subagent:1', undefined, 'agent:aria:subagent:1', 'SUBAGENT', 'aria'],
    ['cron:1:run:2', undefined, 'agent:aria:cron:1:run:2', 'CRON', 'aria'],
    ['hook:1', undefined, 'agent:aria:hook:1', 'HOOK', 'aria'],
    ['node-1', undefined, 'agent:aria:node-1', 'NODE', 'aria'],
    ['telegram:group:-100', undefined, 'agent:aria:telegram:group:-100', 'GROUP', 'aria'],
    ['dashboard:1', undefined, 'agent:aria:dashboard:1', 'DIRECT', 'aria'],
  ])('%j and the agent %j stores the canonical key %j and the kind %s', async (key, agentId, canonical, kind, agent) => {
    expect(await create({ key, agentId })).toMatchObject({ key: canonical, kind, agentId: agent });
  });

  it('returns BAD_USER_INPUT if the key names another agent than agentId', async () => {
    const error = await expectError('createSession', { key: 'agent:work:x', agentId: 'aria' }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.agentId' });
  });

  it('returns BAD_USER_INPUT for a blank key and for more than 512 characters in canonical form', async () => {
    const rest = 'x'.repeat(512 - 'agent:aria:'.length);
    expect((await create({ key: rest })).key).toHaveLength(512);
    expect((await expectError('createSession', { key: `${rest}x` }, 'BAD_USER_INPUT')).extensions.details).toMatchObject({
      field: 'input.key',
    });
    await expectError('createSession', { key: ' ' }, 'BAD_USER_INPUT');
  });

  it.each(['agent:', 'agent:::', ' agent:main ', 'agent:main:', 'agent::main', 'agent:main:::', ':', ' ::: '])(
    'returns BAD_USER_INPUT for the key %j, which names no agent and rest',
    async key => {
      const error = await expectError('createSession', { key, ifExists: 'RETURN' }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toEqual({ field: 'input.key' });
      expect(error.message).toContain(JSON.stringify(key.trim()));
    },
  );

  it('returns KEY_TAKEN for every spelling of a taken key of the same agent', async () => {
    await create({ key: 'spelled' });
    for (const key of ['spelled', ' spelled', 'agent:aria:spelled', 'agent:ARIA:spelled']) {
      const error = await expectError('createSession', { key }, 'KEY_TAKEN');
      expect(error.extensions).toMatchObject({ details: { field: 'input.key', value: 'agent:aria:spelled' }, retryable: false });
    }
    expect((await create({ key: 'spelled', agentId: 'work' })).key).toBe('agent:work:spelled');
  });

  it('with ifExists: RETURN, returns the unchanged session that has the key', async () => {
    const first = await create({ key: 'kept', title: 'first', label: 'kept' });
    const again = await api.mutate<{ created: boolean; session: SessionView }>(
      'createSession',
      { key: 'agent:aria:kept', ifExists: 'RETURN', title: 'second', label: 'kept' },
      `created session { ${SESSION} }`,
    );
    expect(again).toEqual({ created: false, session: first });
    expect(typesOf(await api.events(first.sessionId))).toEqual(['CREATED']);
  });

  it('with ifExists: RETURN, creates a session if none has the key, or if no key is given', async () => {
    const input = { key: 'fresh', ifExists: 'RETURN' };
    expect(await api.mutate('createSession', input, 'created')).toEqual({ created: true });
    expect(await api.mutate('createSession', { ifExists: 'RETURN' }, 'created')).toEqual({ created: true });
  });

  it('with ifExists: RETURN, returns LABEL_TAKEN if only the label is taken', async () => {
    await create({ label: 'of another' });
    await expectError('createSession', { key: 'new one', label: 'of another', ifExists: 'RETURN' }, 'LABEL_TAKEN');
  });

  it('may reuse the key and label of a trashed or superseded session', async () => {
    const first = await create({ key: 'reused', label: 'reused' });
    await api.mutate('deleteSession', { id: first.id }, 'deletedId');
    const second = await create({ key: 'reused', label: 'reused' });
    await api.rows('update aria_engine.chat_sessions set superseded_at = now() where id = $1', [second.sessionId]);
    await create({ key: 'reused', label: 'reused' });
    await expectError('createSession', { key: 'reused' }, 'KEY_TAKEN');
  });

  it('succeeds for one of twenty concurrent calls and returns KEY_TAKEN to the others', async () => {
    const outcomes = await outcomesOf(Array.from({ length: 20 }, () => api.send('createSession', { key: 'wanted' })));
    expect(outcomes.sort()).toEqual([...Array(19).fill('KEY_TAKEN'), 'OK']);
  });

  it('with ifExists: RETURN, returns the same session to twenty concurrent calls', async () => {
    // Calls that both find the key free then compete for the label. That does not happen in every round.
    for (let round = 0; round < 20; round += 1) {
      const input = { key: `shared ${round}`, label: `shared ${round}`, ifExists: 'RETURN' };
      const selection = 'created session { sessionId }';
      const payloads = await Promise.all(
        Array.from({ length: 20 }, () => api.mutate<{ created: boolean; session: SessionView }>('createSession', input, selection)),
      );
      expect(new Set(payloads.map(({ session }) => session.sessionId)).size).toBe(1);
      expect(payloads.filter(({ created }) => created)).toHaveLength(1);
      expect(typesOf(await api.events(payloads[0]?.session.sessionId ?? ''))).toEqual(['CREATED']);
    }
  });
});

describe('createSession with a label', () => {
  it('returns LABEL_TAKEN if another session of the agent has exactly this label', async () => {
    await create({ label: 'Report' });
    const error = await expectError('createSession', { label: ' Report ' }, 'LABEL_TAKEN');
    expect(error.extensions.details).toEqual({ field: 'input.label', value: 'Report' });
    expect((await create({ label: 'report' })).label).toBe('report');
    expect((await create({ label: 'Report', agentId: 'work' })).label).toBe('Report');
  });

  it('succeeds for one of twenty concurrent calls and returns LABEL_TAKEN to the others', async () => {
    const outcomes = await outcomesOf(Array.from({ length: 20 }, () => api.send('createSession', { label: 'wanted' })));
    expect(outcomes.sort()).toEqual([...Array(19).fill('LABEL_TAKEN'), 'OK']);
  });
});

describe('createSession with a parentId', () => {
  it('accepts a bare UUID in upper case', async () => {
    const parent = await create();
    expect((await create({ parentId: parent.sessionId.toUpperCase() })).parent).toEqual({ sessionId: parent.sessionId });
  });

  it('returns SESSION_NOT_FOUND if the id is unknown, malformed or of another type', async () => {
    const session = await create();
    const message = await api.append(session.id, { content: 'hello' });
    const agent = Buffer.from('Agent:aria').toString('base64');
    for (const parentId of ['00000000-0000-7000-8000-000000000000', 'nonsense', '', message.id, agent, 'a\0', '\ud800']) {
      const error = await expectError('createSession', { parentId }, 'SESSION_NOT_FOUND');
      expect(error.extensions.details).toEqual({ id: parentId });
    }
  });

  it('returns SESSION_NOT_FOUND with details.trashed if the parent is in the trash', async () => {
    const parent = await create();
    await api.mutate('deleteSession', { id: parent.id }, 'deletedId');
    const error = await expectError('createSession', { parentId: parent.id }, 'SESSION_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id: parent.id, trashed: true });
  });
});

describe('the input limits of createSession', () => {
  it.each([['agentId', 200], ['type', 200], ...Object.entries(TEXT_LIMITS)] as const)(
    'allow %s to have %i code points',
    async (field, length) => {
      const code = field === 'title' ? 'TITLE_TOO_LONG' : 'BAD_USER_INPUT';
      await create({ [field]: ASTRAL.repeat(length) });
      const error = await expectError('createSession', { [field]: ASTRAL.repeat(length + 1) }, code);
      expect(error.extensions.details).toMatchObject({ field: `input.${field}`, maxLength: length });
    },
  );

  it.each(['agentId', 'type', 'key', ...TRIMMED_FIELDS])('reject a blank %s with BAD_USER_INPUT', async field => {
    for (const blank of ['', ' \n']) {
      const error = await expectError('createSession', { [field]: blank }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toMatchObject({ field: `input.${field}` });
    }
  });

  it('allow 50 tags of 64 characters and reject blank tags', async () => {
    const tags = Array.from({ length: 50 }, (_, index) => String(index).padEnd(64, 'x'));
    expect((await create({ tags })).tags).toEqual(tags);
    await expectError('createSession', { tags: [...tags, 'one more'] }, 'BAD_USER_INPUT');
    const error = await expectError('createSession', { tags: ['fine', 'x'.repeat(65)] }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toMatchObject({ field: 'input.tags.1' });
    await expectError('createSession', { tags: [' '] }, 'BAD_USER_INPUT');
  });

  it('return INVALID_TOKEN_LIMIT for a tokenLimit below 1 or above MAX_TOKEN_LIMIT', async () => {
    expect((await create({ tokenLimit: 1 })).tokenLimit).toBe(1);
    for (const tokenLimit of [0, -1, 5_001]) {
      const error = await expectError('createSession', { tokenLimit }, 'INVALID_TOKEN_LIMIT');
      expect(error.extensions.details).toMatchObject({ field: 'input.tokenLimit', max: 5_000 });
    }
  });

  it('return BAD_USER_INPUT for an expectedDurationMs that is not positive or too large', async () => {
    for (const expectedDurationMs of [0, -1, 2 ** 53 - 1]) await expectError('createSession', { expectedDurationMs }, 'BAD_USER_INPUT');
    await expectError('createSession', { startedAt: '9999-12-31T23:59:59Z', expectedDurationMs: 1_000 }, 'BAD_USER_INPUT');
  });

  it('allow metadata of 64 KiB, which must be an object', async () => {
    const metadata = { text: 'é'.repeat((65_536 - '{"text":""}'.length - 1) / 2), a: 1 };
    const fits = { text: `${metadata.text}x` };
    expect(Buffer.byteLength(JSON.stringify(fits))).toBe(65_536);
    expect((await create({ metadata: fits })).metadata).toEqual(fits);
    const error = await expectError('createSession', { metadata: { text: `${fits.text}x` } }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.metadata', bytes: 65_537 });
    for (const other of [[], 'text', 1, true]) await expectError('createSession', { metadata: other }, 'BAD_USER_INPUT');
  });

  it('do not change metadata with unusual keys', async () => {
    const metadata = JSON.parse('{"__proto__": {"a": 1}, "constructor": null, "": 0, "é💡": [[], {}], "1": -1.5e-7, "\\u0001": "\\u001f"}');
    const { sessionId } = await create({ metadata });
    const [row] = await api.rows<{ same: boolean }>('select metadata = $2::jsonb as same from aria_engine.chat_sessions where id = $1', [
      sessionId,
      JSON.stringify(metadata),
    ]);
    expect(row).toEqual({ same: true });
  });

  it('return BAD_USER_INPUT for NUL and lone surrogates in any text, including JSON values and keys', async () => {
    const places: [string, (text: string) => object][] = [
      ...['agentId', 'type', 'key', ...TEXT_FIELDS].map((field): [string, (text: string) => object] => [
        `input.${field}`,
        text => ({ [field]: text }),
      ]),
      ['input.tags.1', text => ({ tags: ['fine', text] })],
      ['input.origin.from', text => ({ origin: { from: text } })],
      ['input.delivery.to', text => ({ delivery: { to: text } })],
      ['input.metadata.a.0.b', text => ({ metadata: { a: [{ b: text }] } })],
      ['input.metadata.a.0', text => ({ metadata: { a: [{ [text]: 1 }] } })],
      ['input.metadata', text => ({ metadata: { [text]: 1 } })],
    ];
    for (const [field, input] of places) {
      for (const text of ['a\0b', 'a\ud800b', '\udc00']) {
        const error = await expectError('createSession', { ...input(text) }, 'BAD_USER_INPUT');
        expect(error.extensions.details).toEqual({ field });
      }
    }
  });

  it('return BAD_USER_INPUT for metadata that is nested too deeply or contains an infinite number', async () => {
    const deep = JSON.parse(`${'{"a":'.repeat(120)}1${'}'.repeat(120)}`);
    await expectError('createSession', { metadata: deep }, 'BAD_USER_INPUT');
    const response = await fetch(api.app.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"mutation ($m: JSON!) { createSession(input: { metadata: $m }) { created } }","variables":{"m":{"a":{"b":1e999}}}}',
    });
    expect(await response.json()).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT', details: { field: 'input.metadata.a.b' } } }],
    });
  });

  it('are checked before anything is written', async () => {
    const count = 'select count(*)::int as count from aria_engine.chat_sessions';
    const before = await api.rows(count);
    await expectError('createSession', { key: 'all-or-nothing', metadata: [] }, 'BAD_USER_INPUT');
    await expectError('createSession', { key: 'all-or-nothing', parentId: 'nonsense' }, 'SESSION_NOT_FOUND');
    expect(await api.rows(count)).toEqual(before);
  });
});
