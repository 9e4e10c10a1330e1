import { describe, expect, it } from 'vitest';
import { outcomesOf, type SessionView, typesOf, useMutationApi, type WrittenEvent } from './mutation-api.ts';
import { GIVEN_TEXTS, STORED_TEXTS, TEXT_FIELDS } from './text-fields.ts';

const api = useMutationApi({ env: { MAX_TOKEN_LIMIT: '5000' } });
const { create, expectError, update } = api;

const OPEN = ['SPAWNING', 'ACTIVE', 'WORKING', 'STALLED'];
const TERMINAL = ['COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'];
const ALL = [...OPEN, ...TERMINAL];

/** The allowed transitions of each status. */
const TRANSITIONS: Readonly<Record<string, readonly string[]>> = {
  SPAWNING: ['ACTIVE', 'WORKING', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  ACTIVE: ['WORKING', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  WORKING: ['ACTIVE', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  STALLED: ['ACTIVE', 'WORKING', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  COMPLETED: ['ACTIVE'],
  ENDED: ['ACTIVE'],
  FAILED: [],
  TERMINATED: [],
};

/** The fields that null clears: a value, the field that shows it, the shown value and the value after clearing. */
const FIELDS: readonly (readonly [field: string, value: unknown, shownAs: string, shown: unknown, cleared: unknown])[] = [
  ...TEXT_FIELDS.map(field => [field, GIVEN_TEXTS[field], field === 'title' ? 'givenTitle' : field, STORED_TEXTS[field], null] as const),
  ['tags', ['b', 'a', 'b'], 'tags', ['b', 'a'], []],
  ['tokenLimit', 4_000, 'tokenLimit', 4_000, null],
  ['expectedCompletionAt', '2030-01-01T00:00:00.001Z', 'expectedCompletionAt', '2030-01-01T00:00:00.001Z', null],
  [
    'origin',
    { label: 'l', from: null },
    'origin',
    { label: 'l', provider: null, surface: null, chatType: null, from: null, to: null, accountId: null, threadId: null },
    null,
  ],
  ['delivery', { to: '7' }, 'delivery', { channel: null, to: '7', accountId: null, threadId: null }, null],
  ['metadata', { a: 1 }, 'metadata', { a: 1 }, {}],
];

/** Returns the events that `work` writes for the session. */
async function eventsWrittenBy(id: string, work: () => Promise<unknown>): Promise<readonly WrittenEvent[]> {
  const before = await api.events(id);
  await work();
  return (await api.events(id)).slice(before.length);
}

/** Creates a session and sets its status by SQL. */
async function createSessionWithStatus(status: string): Promise<SessionView> {
  const { sessionId } = await create();
  const ended = TERMINAL.includes(status) ? '2026-01-01T00:00:00Z' : null;
  await api.rows(
    'update aria_engine.chat_sessions set status = $2::aria_engine.session_status, ended_at = $3, status_reason = $4 where id = $1',
    [sessionId, status, ended, 'as it was'],
  );
  const session = await api.session(sessionId);
  if (session === null) throw new Error(`There is no session ${sessionId}.`);
  return session;
}

describe('updateSession', () => {
  it.each(FIELDS)('sets, keeps and clears %s, with one UPDATED event per change', async (field, value, shownAs, shown, cleared) => {
    const { id, sessionId } = await create();
    const set = await update({ id, [field]: value });
    expect(set).toMatchObject({ [shownAs]: shown, version: 2 });
    const names = (events: readonly WrittenEvent[]) => events.map(({ type, payload }) => [type, payload.changed]);
    const titled = ['title', 'displayName', 'subject'].includes(field) ? ['title'] : [];
    expect(names((await api.events(sessionId)).slice(1))).toEqual([['UPDATED', [shownAs, ...titled]]]);

    const same = await eventsWrittenBy(sessionId, async () => expect(await update({ id, [field]: value })).toEqual(set));
    expect(same).toEqual([]);
    const kept = await eventsWrittenBy(sessionId, async () => expect(await update({ id })).toEqual(set));
    expect(kept).toEqual([]);

    const clearing = await eventsWrittenBy(sessionId, async () =>
      expect(await update({ id, [field]: null })).toMatchObject({ [shownAs]: cleared, version: 3 }),
    );
    expect(names(clearing)).toEqual([['UPDATED', [shownAs, ...titled]]]);
    expect(await update({ id, [field]: null })).toMatchObject({ version: 3 });
  });

  it('writes one version, one UPDATED event and then STATUS_CHANGED for changes to many fields', async () => {
    const { id, sessionId } = await create({ priority: 'LOW' });
    const session = await update({
      id,
      title: 'new',
      priority: 'HIGH',
      pinned: true,
      metadata: { a: 1 },
      status: 'WORKING',
      statusReason: 'busy',
    });
    expect(session).toMatchObject({
      title: 'new',
      priority: 'HIGH',
      metadata: { a: 1 },
      status: 'WORKING',
      statusReason: 'busy',
      version: 2,
    });
    expect((await api.events(sessionId)).slice(1)).toEqual([
      { type: 'UPDATED', payload: { changed: ['givenTitle', 'priority', 'title', 'pinnedAt', 'metadata'] } },
      { type: 'STATUS_CHANGED', payload: expect.objectContaining({ from: 'ACTIVE', to: 'WORKING', reason: 'busy' }) },
    ]);
  });

  it('sets updatedAt, but not lastActivityAt, and neither if nothing changes', async () => {
    const before = await create();
    await api.rows(`update aria_engine.chat_session_activity set updated_at = updated_at - interval '1 hour' where session_id = $1`, [
      before.sessionId,
    ]);
    const after = await update({ id: before.id, title: 'new' });
    expect(Date.parse(after.updatedAt)).toBeGreaterThanOrEqual(Date.parse(before.updatedAt));
    expect(after.lastActivityAt).toBe(before.lastActivityAt);
    expect((await update({ id: before.id, title: 'new' })).updatedAt).toBe(after.updatedAt);
  });

  it('needs three statements: to lock, to write and to read the session of the payload', async () => {
    const { id } = await create();
    const answer = await api.send('updateSession', { id, title: 'a', tags: ['b'], status: 'WORKING' }, 'session { id version title tags }');
    expect(answer.sql).toHaveLength(3);
    expect((await api.send('updateSession', { id, title: 'a' }, '__typename')).sql).toHaveLength(1);
    expect((await api.send('updateSession', { id, metadata: { a: 1 } }, '__typename')).sql).toHaveLength(3);
  });

  it.each(['status', 'priority', 'archived', 'pinned', 'metadataWrite', 'parentId'])(
    'returns BAD_USER_INPUT for null in %s',
    async field => {
      const { id } = await create();
      const error = await expectError('updateSession', { id, title: 'not written', [field]: null }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toEqual({ field: `input.${field}` });
      expect(await api.session(id)).toMatchObject({ version: 1, givenTitle: null });
    },
  );

  it('writes nothing if one field is invalid', async () => {
    await create({ label: 'taken label' });
    const before = await create({ metadata: { kept: true } });
    const attempts: [object, Parameters<typeof expectError>[2]][] = [
      [{ label: 'taken label' }, 'LABEL_TAKEN'],
      [{ status: 'SPAWNING' }, 'INVALID_STATUS_TRANSITION'],
      [{ parentId: before.id }, 'BAD_USER_INPUT'],
      [{ parentId: 'nonsense' }, 'SESSION_NOT_FOUND'],
      [{ endedAt: '2026-01-01T00:00:00Z' }, 'BAD_USER_INPUT'],
      [{ tokenLimit: 5_001 }, 'INVALID_TOKEN_LIMIT'],
      [{ title: 'x'.repeat(201) }, 'TITLE_TOO_LONG'],
    ];
    for (const [input, code] of attempts) {
      await expectError('updateSession', { id: before.id, subject: 'new', metadata: { more: 1 }, archived: true, ...input }, code);
    }
    expect(await api.session(before.id)).toEqual(before);
    expect(typesOf(await api.events(before.sessionId))).toEqual(['CREATED']);
  });

  it('returns SESSION_NOT_FOUND for ids that are unknown, malformed or of a message', async () => {
    const session = await create();
    const message = await api.append(session.id, { content: 'hello' });
    for (const id of ['00000000-0000-7000-8000-000000000000', 'nonsense', '', message.id, message.messageId, 'a\0', '\ud800']) {
      const error = await expectError('updateSession', { id, title: 'new' }, 'SESSION_NOT_FOUND');
      expect(error.extensions.details).toEqual({ id });
    }
  });

  it('returns SESSION_NOT_FOUND with details.trashed for a trashed session', async () => {
    const { id } = await create();
    await api.mutate('deleteSession', { id }, 'deletedId');
    const error = await expectError('updateSession', { id, title: 'new' }, 'SESSION_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id, trashed: true });
  });
});

describe('updateSession that clears the title', () => {
  it('shows displayName, else subject, else the first message, else the id', async () => {
    const { id, sessionId } = await create({ title: 'given', displayName: 'name', subject: 'subject' });
    await api.append(id, { content: 'first message' });
    expect(await update({ id, title: null })).toMatchObject({ title: 'name', givenTitle: null });
    expect((await update({ id, displayName: null })).title).toBe('subject');
    expect((await update({ id, subject: null })).title).toBe('first message');
    const other = await create({ title: 'given' });
    expect((await update({ id: other.id, title: null })).title).toBe(`Session ${other.sessionId.slice(0, 8)}`);
    expect((await update({ id, subject: 'again', title: 'over it' })).title).toBe('over it');
    expect((await api.events(sessionId)).at(-1)?.payload).toEqual({ changed: ['givenTitle', 'subject', 'title'] });
  });
});

describe('updateSession with archived or pinned', () => {
  it.each(['archived', 'pinned'])('sets and clears %sAt, and changes nothing if the value is the same', async flag => {
    const { id, sessionId } = await create();
    const field = `${flag}At`;
    const set = await update({ id, [flag]: true });
    expect(set[field]).toEqual(expect.any(String));
    expect(await update({ id, [flag]: true })).toEqual(set);
    expect(await update({ id, [flag]: false })).toMatchObject({ [field]: null, version: 3 });
    expect(await update({ id, [flag]: false })).toMatchObject({ version: 3 });
    expect((await api.events(sessionId)).slice(1).map(({ payload }) => payload)).toEqual([{ changed: [field] }, { changed: [field] }]);
  });
});

describe('updateSession with an origin', () => {
  it('recomputes the kind from chatType if the session has a key', async () => {
    const { id, sessionId } = await create({ key: 'dashboard:1' });
    expect(await update({ id, origin: { chatType: 'group' } })).toMatchObject({ kind: 'GROUP' });
    expect(await update({ id, origin: { chatType: 'direct' } })).toMatchObject({ kind: 'DIRECT' });
    expect(await update({ id, origin: { chatType: 'channel' } })).toMatchObject({ kind: 'GROUP' });
    expect(await update({ id, origin: null })).toMatchObject({ kind: 'DIRECT', origin: null });
    expect((await api.events(sessionId)).at(-1)?.payload).toEqual({ changed: ['origin', 'kind'] });
    const keyless = await create();
    expect(await update({ id: keyless.id, origin: { chatType: 'group' } })).toMatchObject({ kind: 'OTHER' });
  });
});

describe('updateSession with a label', () => {
  it('returns LABEL_TAKEN if another session of the agent has the label', async () => {
    await create({ label: 'one' });
    const { id } = await create({ label: 'two' });
    const error = await expectError('updateSession', { id, label: ' one ' }, 'LABEL_TAKEN');
    expect(error.extensions.details).toEqual({ field: 'input.label', value: 'one' });
    expect(await update({ id, label: 'two' })).toMatchObject({ version: 1 });
    const other = await create({ agentId: 'work' });
    expect(await update({ id: other.id, label: 'one' })).toMatchObject({ label: 'one' });
  });

  it('succeeds for one of twenty concurrent calls and returns LABEL_TAKEN to the others', async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => create()));
    const outcomes = await outcomesOf(sessions.map(({ id }) => api.send('updateSession', { id, label: 'wanted' })));
    expect(outcomes.sort()).toEqual([...Array(19).fill('LABEL_TAKEN'), 'OK']);
  });

  it.each(['', ' ', 'x'.repeat(65)])('returns BAD_USER_INPUT for the label %j', async label => {
    const { id } = await create();
    await expectError('updateSession', { id, label }, 'BAD_USER_INPUT');
  });
});

describe('updateSession with metadata', () => {
  it('merges by top-level key; null removes a key', async () => {
    const { id } = await create({ metadata: { a: { deep: 1, kept: 2 }, b: 1, c: 1, d: [1] } });
    expect((await update({ id, metadata: { a: { deep: 2 }, b: null, d: [2], e: false, absent: null } })).metadata).toEqual({
      a: { deep: 2 },
      c: 1,
      d: [2],
      e: false,
    });
    expect((await update({ id, metadata: { a: { deep: null } }, metadataWrite: 'MERGE' })).metadata).toMatchObject({ a: { deep: null } });
  });

  it('replaces the metadata with metadataWrite: REPLACE and keeps null values', async () => {
    const { id } = await create({ metadata: { a: 1 } });
    expect(await update({ id, metadata: { b: null }, metadataWrite: 'REPLACE' })).toMatchObject({ metadata: { b: null }, version: 2 });
    expect(await update({ id, metadata: { b: null }, metadataWrite: 'REPLACE' })).toMatchObject({ version: 2 });
    expect(await update({ id, metadataWrite: 'REPLACE' })).toMatchObject({ metadata: { b: null }, version: 2 });
  });

  it('changes nothing if the merged result is the same', async () => {
    const { id } = await create({ metadata: { a: { x: 1, y: 2 }, b: 1.5 } });
    expect(await update({ id, metadata: { a: { y: 2, x: 1 }, b: 1.5, c: null } })).toMatchObject({ version: 1 });
    expect(await update({ id, metadata: {} })).toMatchObject({ version: 1 });
  });

  it('returns BAD_USER_INPUT if the merged result exceeds 64 KiB, counted as in createSession', async () => {
    const many = Object.fromEntries(Array.from({ length: 4_000 }, (_, index) => [`k${index}`, 1e300]));
    const padding = 65_536 - Buffer.byteLength(JSON.stringify({ ...many, p: '' }));
    const full = { ...many, p: 'x'.repeat(padding) };
    const { id } = await create({ metadata: full });
    expect((await update({ id, metadata: full, metadataWrite: 'REPLACE' })).version).toBe(1);
    const error = await expectError('updateSession', { id, metadata: { q: 1 } }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.metadata', bytes: 65_536 + ',"q":1'.length });
    expect((await update({ id, metadata: { k0: null, q: 1 } })).metadata).toMatchObject({ q: 1 });
    await expectError('updateSession', { id, metadata: { p: 'x'.repeat(65_536) }, metadataWrite: 'REPLACE' }, 'BAD_USER_INPUT');
  });

  it('returns BAD_USER_INPUT if metadata is no object', async () => {
    const { id } = await create();
    for (const metadata of [[], 'text', 0, false]) await expectError('updateSession', { id, metadata }, 'BAD_USER_INPUT');
  });

  it('keeps the keys of twenty concurrent merges', async () => {
    const { id } = await create({ metadata: { kept: true } });
    const outcomes = await outcomesOf(
      Array.from({ length: 20 }, (_, index) => api.send('updateSession', { id, metadata: { [`key${index}`]: index } })),
    );
    expect(new Set(outcomes)).toEqual(new Set(['OK']));
    const expected = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`key${index}`, index]));
    expect(await api.session(id)).toMatchObject({ metadata: { kept: true, ...expected }, version: 21 });
  });
});

describe('updateSession with expectedVersion', () => {
  it('returns VERSION_CONFLICT for an older version, even if nothing would change', async () => {
    const { id } = await create();
    await update({ id, title: 'one', expectedVersion: 1 });
    for (const input of [{ title: 'two' }, { title: 'one' }, {}]) {
      const error = await expectError('updateSession', { id, ...input, expectedVersion: 1 }, 'VERSION_CONFLICT');
      expect(error.extensions.details).toEqual({ expectedVersion: 1, currentVersion: 2 });
    }
    expect(await update({ id, title: 'two', expectedVersion: 2 })).toMatchObject({ version: 3 });
    expect(await update({ id, title: 'three', expectedVersion: null })).toMatchObject({ version: 4 });
  });

  it('succeeds for one of twenty concurrent calls and returns VERSION_CONFLICT to the others', async () => {
    const { id } = await create();
    const outcomes = await outcomesOf(
      Array.from({ length: 20 }, (_, index) => api.send('updateSession', { id, title: `title ${index}`, expectedVersion: 1 })),
    );
    expect(outcomes.sort()).toEqual(['OK', ...Array(19).fill('VERSION_CONFLICT')]);
    expect(await api.session(id)).toMatchObject({ version: 2 });
  });
});

describe('Session.version', () => {
  it('does not change when a message is appended', async () => {
    const { id } = await create();
    await api.append(id, { content: 'hello' });
    expect(await api.session(id)).toMatchObject({ version: 1 });
  });
});

describe('updateSession with a status', () => {
  it.each(ALL)('allows only the transitions from %s in the table', async from => {
    for (const to of ALL) {
      const before = await createSessionWithStatus(from);
      const { id, sessionId } = before;
      const events = () => api.events(sessionId);
      if (to === from) {
        expect(await update({ id, status: to })).toEqual(before);
        expect(typesOf(await events())).toEqual(['CREATED']);
      } else if (to === 'STALLED' || to === 'TERMINATED') {
        await expectError('updateSession', { id, status: to }, 'BAD_USER_INPUT');
        expect(await api.session(id)).toEqual(before);
      } else if (TRANSITIONS[from]?.includes(to)) {
        const after = await update({ id, status: to });
        expect(after).toMatchObject({ status: to, version: 2, statusReason: null });
        expect(after.endedAt === null, `${from} to ${to}`).toBe(OPEN.includes(to));
        const [, changed, ...more] = await events();
        expect(changed).toMatchObject({ type: 'STATUS_CHANGED', payload: { from, to, reason: null } });
        expect(more).toEqual([]);
      } else {
        const error = await expectError('updateSession', { id, status: to }, 'INVALID_STATUS_TRANSITION');
        expect(error.extensions.details).toEqual({ from, to, allowed: TRANSITIONS[from] });
        expect(await api.session(id)).toEqual(before);
      }
    }
  });

  it('clears endedAt and accepts messages again when it reopens a session', async () => {
    for (const status of ['COMPLETED', 'ENDED']) {
      const { id } = await create();
      expect((await update({ id, status, statusReason: 'done' })).endedAt).not.toBeNull();
      await expectError('appendMessage', { sessionId: id, message: { role: 'USER', content: 'too late' } }, 'SESSION_ENDED');
      expect(await update({ id, status: 'ACTIVE' })).toMatchObject({ status: 'ACTIVE', endedAt: null, statusReason: null, version: 3 });
      expect((await api.append(id, { content: 'again' })).position).toBe(1);
    }
  });

  it('shows progress of 100 percent when the status is COMPLETED', async () => {
    const { id } = await create();
    expect(await update({ id, status: 'COMPLETED' })).toMatchObject({ progress: { percent: 100 } });
  });

  it('writes STATUS_CHANGED for a new statusReason, with or without a new status', async () => {
    const { id, sessionId } = await create();
    const eventsOfUpdate = async (input: object) => eventsWrittenBy(sessionId, () => update({ id, ...input }));
    const event = (from: string, to: string, reason: string | null) => ({
      type: 'STATUS_CHANGED',
      payload: expect.objectContaining({
        from,
        to,
        reason,
        usage: expect.objectContaining({ totalTokens: 0 }),
        idleMs: expect.any(Number),
      }),
    });
    expect(await eventsOfUpdate({ statusReason: ' thinking ' })).toEqual([event('ACTIVE', 'ACTIVE', 'thinking')]);
    expect(await eventsOfUpdate({ statusReason: 'thinking' })).toEqual([]);
    expect(await eventsOfUpdate({ status: 'WORKING' })).toEqual([event('ACTIVE', 'WORKING', null)]);
    expect(await eventsOfUpdate({ status: 'FAILED', statusReason: 'broken' })).toEqual([event('WORKING', 'FAILED', 'broken')]);
    expect(await eventsOfUpdate({ statusReason: null })).toEqual([event('FAILED', 'FAILED', null)]);
    expect(await api.session(id)).toMatchObject({ version: 5, statusReason: null });
    await expectError('updateSession', { id, statusReason: 'x'.repeat(2_001) }, 'BAD_USER_INPUT');
  });
});

describe('updateSession with endedAt', () => {
  const at = '2026-02-12T20:25:00.123Z';

  it.each(TERMINAL)('sets it if the status is %s', async status => {
    const { id, sessionId } = await createSessionWithStatus(status);
    expect(await update({ id, endedAt: at })).toMatchObject({ endedAt: at, status, version: 2, statusReason: 'as it was' });
    expect(await update({ id, endedAt: at })).toMatchObject({ version: 2 });
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'STATUS_CHANGED']);
  });

  it.each(TERMINAL)('returns BAD_USER_INPUT if it is null and the status stays %s', async status => {
    const { id, sessionId } = await createSessionWithStatus(status);
    await update({ id, endedAt: at });
    const error = await expectError('updateSession', { id, endedAt: null, title: 'not applied' }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.endedAt' });
    expect(await api.session(sessionId)).toMatchObject({ endedAt: at, version: 2 });
  });

  it('takes null together with a terminal status for the time of the call, and keeps it when the call is repeated', async () => {
    const { id } = await create();
    const { endedAt } = await update({ id, status: 'ENDED', endedAt: null });
    expect(Date.now() - Date.parse(endedAt ?? '')).toBeLessThan(60_000);
    expect(await update({ id, status: 'ENDED', endedAt: null })).toMatchObject({ endedAt, version: 2 });
  });

  it('sets it together with a terminal status', async () => {
    const { id } = await create();
    expect(await update({ id, status: 'COMPLETED', endedAt: at })).toMatchObject({ status: 'COMPLETED', endedAt: at, version: 2 });
  });

  it.each(OPEN)('returns BAD_USER_INPUT if the status stays %s', async status => {
    const { id } = await createSessionWithStatus(status);
    const error = await expectError('updateSession', { id, endedAt: at }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.endedAt' });
    expect(await update({ id, endedAt: null })).toMatchObject({ version: 1 });
  });

  it('returns BAD_USER_INPUT if the session is reopened', async () => {
    const { id } = await createSessionWithStatus('ENDED');
    await expectError('updateSession', { id, status: 'ACTIVE', endedAt: at }, 'BAD_USER_INPUT');
    expect(await update({ id, status: 'ACTIVE', endedAt: null })).toMatchObject({ status: 'ACTIVE', endedAt: null });
  });
});

describe('updateSession with a tokenLimit', () => {
  it('returns INVALID_TOKEN_LIMIT if the limit is out of range or 95 % of it are already used', async () => {
    const { id } = await create();
    await api.append(id, { content: 'hello', usage: { totalTokens: 950 } });
    const error = await expectError('updateSession', { id, tokenLimit: 1_000 }, 'INVALID_TOKEN_LIMIT');
    expect(error.extensions.details).toEqual({ field: 'input.tokenLimit', totalTokens: 950 });
    expect(await update({ id, tokenLimit: 1_001 })).toMatchObject({ tokenLimit: 1_001, status: 'ACTIVE' });
    for (const tokenLimit of [0, -5, 5_001]) await expectError('updateSession', { id, tokenLimit }, 'INVALID_TOKEN_LIMIT');
  });
});

describe('updateSession with a parentId', () => {
  it('sets the parent once and returns BAD_USER_INPUT for another parent', async () => {
    const [parent, other, child] = await Promise.all([create(), create(), create()]);
    expect(await update({ id: child.id, parentId: parent.id })).toMatchObject({
      parent: { sessionId: parent.sessionId },
      depth: 1,
      version: 2,
    });
    expect((await api.events(child.sessionId)).at(-1)).toEqual({
      type: 'UPDATED',
      payload: { changed: ['parent'], parentId: parent.sessionId },
    });
    expect(await update({ id: child.id, parentId: parent.sessionId })).toMatchObject({ version: 2 });
    const error = await expectError('updateSession', { id: child.id, parentId: other.id }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.parentId' });
  });

  it('returns BAD_USER_INPUT if the parent is the session itself or a descendant', async () => {
    const root = await create();
    const child = await create({ parentId: root.id });
    const grandchild = await create({ parentId: child.id });
    for (const { id } of [root, child, grandchild]) await expectError('updateSession', { id: root.id, parentId: id }, 'BAD_USER_INPUT');
  });

  it('returns SESSION_NOT_FOUND if the parent is unknown, malformed or trashed', async () => {
    const { id } = await create();
    const trashed = await create();
    await api.mutate('deleteSession', { id: trashed.id }, 'deletedId');
    await expectError('updateSession', { id, parentId: '00000000-0000-7000-8000-000000000000' }, 'SESSION_NOT_FOUND');
    await expectError('updateSession', { id, parentId: 'a\0' }, 'SESSION_NOT_FOUND');
    const error = await expectError('updateSession', { id, parentId: trashed.id }, 'SESSION_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id: trashed.id, trashed: true });
  });

  it('creates no cycle when six concurrent calls would close one', async () => {
    for (let round = 0; round < 5; round += 1) {
      const sessions = await Promise.all(Array.from({ length: 6 }, () => create()));
      const outcomes = await outcomesOf(
        sessions.map(({ id }, index) => api.send('updateSession', { id, parentId: sessions[(index + 1) % sessions.length]?.id })),
      );
      expect(outcomes.sort()).toEqual(['BAD_USER_INPUT', ...Array(5).fill('OK')]);
    }
  });

  it('does not wait for a locked sibling', async () => {
    const [lockedSession, sibling, parent] = await Promise.all([create(), create(), create()]);
    const locker = await api.connect();
    await locker.query('begin');
    await locker.query('select from aria_engine.chat_sessions where id = $1 for no key update', [lockedSession.sessionId]);
    const waiting = api.send('updateSession', { id: lockedSession.id, parentId: parent.id });
    const blocked = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    await expect.poll(async () => (await api.rows(blocked)).length).toBeGreaterThan(0);
    expect((await update({ id: sibling.id, parentId: parent.id })).parent).toEqual({ sessionId: parent.sessionId });
    await locker.query('commit');
    await locker.end();
    (await waiting).expectOk();
  });

  it('returns SESSION_NOT_FOUND or leaves a root if the parent is deleted permanently at the same time', async () => {
    for (let round = 0; round < 10; round += 1) {
      const [parent, child] = await Promise.all([create(), create()]);
      const [set, removed] = await outcomesOf([
        api.send('updateSession', { id: child.id, parentId: parent.id }),
        api.send('deleteSession', { id: parent.id, permanent: true }),
      ]);
      expect(['OK', 'SESSION_NOT_FOUND']).toContain(set);
      expect(removed).toBe('OK');
      expect(await api.session(child.id)).toMatchObject({ parent: null, depth: 0 });
    }
  });
});

describe('the input limits of updateSession', () => {
  it('return BAD_USER_INPUT for NUL and lone surrogates in any text, including JSON values and keys', async () => {
    const { id } = await create();
    const places: [string, (text: string) => object][] = [
      ...['statusReason', ...TEXT_FIELDS].map((field): [string, (text: string) => object] => [
        `input.${field}`,
        text => ({ [field]: text }),
      ]),
      ['input.tags.0', text => ({ tags: [text] })],
      ['input.origin.chatType', text => ({ origin: { chatType: text } })],
      ['input.delivery.to', text => ({ delivery: { to: text } })],
      ['input.metadata.a', text => ({ metadata: { a: { [text]: null } } })],
      ['input.metadata', text => ({ metadata: { [text]: null } })],
    ];
    for (const [field, input] of places) {
      for (const text of ['\0', 'a\ud83d', '\udca1\ud83d']) {
        const error = await expectError('updateSession', { id, ...input(text) }, 'BAD_USER_INPUT');
        expect(error.extensions.details).toEqual({ field });
      }
    }
    expect(await update({ id, title: '💡' })).toMatchObject({ title: '💡', version: 2 });
  });
});
