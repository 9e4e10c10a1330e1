import { describe, expect, it } from 'vitest';
import { outcomesOf, SESSION, type SessionView, typesOf, useMutationApi } from './mutation-api.ts';

const api = useMutationApi({ env: { DEFAULT_AGENT: 'aria', MAIN_KEY: 'home', TRASH_DAYS: '2' } });
const { create, expectError } = api;

interface DeletePayload {
  readonly deletedId: string;
  readonly session: SessionView | null;
}

const deleteSession = (input: Record<string, unknown>) =>
  api.mutate<DeletePayload>('deleteSession', input, `deletedId session { ${SESSION} }`);

const DAY_MS = 86_400_000;

describe('deleteSession', () => {
  it('moves the session to the trash, where it can still be read by id', async () => {
    const before = await create({ key: 'trash-me', label: 'trash me' });
    const { id, sessionId } = before;
    const { deletedId, session } = await deleteSession({ id });
    expect(deletedId).toBe(id);
    expect(session).toMatchObject({ key: before.key, label: 'trash me', status: 'ACTIVE', version: 2, deletedAt: expect.any(String) });
    expect(Date.parse(String(session?.purgeAt)) - Date.parse(session?.deletedAt ?? '')).toBe(2 * DAY_MS);
    expect(await api.session(id)).toEqual(session);
    expect((await api.events(sessionId)).slice(1)).toEqual([{ type: 'DELETED', payload: { permanent: false } }]);
  });

  it('removes the session from lists, except with trashed: true', async () => {
    const { id, sessionId } = await create({ agentId: 'lister' });
    await deleteSession({ id });
    const lists = await api.app.gql(`{
      plain: sessions(filter: { agentId: { eq: "lister" } }) { nodes { sessionId } }
      trashed: sessions(filter: { agentId: { eq: "lister" }, trashed: true }) { nodes { sessionId } }
    }`);
    expect(lists.expectOk()).toEqual({ plain: { nodes: [] }, trashed: { nodes: [{ sessionId }] } });
  });

  it('makes other writes to the session return SESSION_NOT_FOUND with details.trashed', async () => {
    const { id, sessionId } = await create();
    const message = await api.append(id, { content: 'hello' });
    const { session } = await deleteSession({ id });
    const writes: [Parameters<typeof expectError>[0], Record<string, unknown>][] = [
      ['updateSession', { id, title: 'new' }],
      ['endSession', { id }],
      ['deleteSession', { id }],
      ['appendMessage', { sessionId: id, message: { role: 'USER', content: 'late' } }],
      ['appendMessage', { sessionId: id, message: { role: 'USER', content: 'late', parentId: message.id } }],
      ['appendMessages', { sessionId: id, messages: [{ role: 'USER', content: 'late' }] }],
      ['deleteMessage', { sessionId: id, id: message.id }],
    ];
    for (const [name, input] of writes) {
      const error = await expectError(name, input, 'SESSION_NOT_FOUND');
      expect(error.extensions.details, name).toEqual({ id, trashed: true });
    }
    expect(await api.session(id)).toEqual(session);
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'MESSAGE_ADDED', 'DELETED']);
  });

  it('needs two statements: one to lock and one to write', async () => {
    const [first, second] = await Promise.all([create(), create()]);
    expect((await api.send('deleteSession', { id: first.id }, 'deletedId')).sql).toHaveLength(2);
    expect((await api.send('deleteSession', { id: second.id, permanent: true }, 'deletedId session { id }')).sql).toHaveLength(2);
  });

  it('returns MAIN_SESSION_PROTECTED for the main session of the default agent only', async () => {
    const main = await create({ key: 'main' });
    for (const permanent of [false, true]) {
      const error = await expectError('deleteSession', { id: main.id, permanent }, 'MAIN_SESSION_PROTECTED');
      expect(error.extensions.details).toEqual({ key: 'agent:aria:home' });
    }
    const other = await create({ key: 'main', agentId: 'work' });
    expect((await deleteSession({ id: other.id })).session).toMatchObject({ kind: 'MAIN', key: 'agent:work:home' });
  });

  it('returns VERSION_CONFLICT if expectedVersion is not the current version', async () => {
    const { id } = await create();
    for (const permanent of [false, true]) {
      const error = await expectError('deleteSession', { id, permanent, expectedVersion: 2 }, 'VERSION_CONFLICT');
      expect(error.extensions.details).toEqual({ expectedVersion: 2, currentVersion: 1 });
    }
    expect((await deleteSession({ id, expectedVersion: 1, permanent: null })).session).toMatchObject({ version: 2 });
  });

  it('returns SESSION_NOT_FOUND for unknown and malformed ids', async () => {
    for (const id of ['00000000-0000-7000-8000-000000000000', 'nonsense', 'a\0']) {
      await expectError('deleteSession', { id }, 'SESSION_NOT_FOUND');
      await expectError('deleteSession', { id, permanent: true }, 'SESSION_NOT_FOUND');
    }
  });

  it('succeeds for one of ten concurrent calls and returns SESSION_NOT_FOUND to the others', async () => {
    const { id, sessionId } = await create();
    const outcomes = await outcomesOf(Array.from({ length: 10 }, () => api.send('deleteSession', { id })));
    expect(outcomes.sort()).toEqual(['OK', ...Array(9).fill('SESSION_NOT_FOUND')]);
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'DELETED']);
    expect(await api.session(id)).toMatchObject({ version: 2 });
  });
});

describe('deleteSession with permanent: true', () => {
  it('deletes the session, its messages and its import data, and writes a tombstone', async () => {
    const { id, sessionId } = await create();
    const message = await api.append(id, { content: 'hello' });
    await api.rows(
      `insert into aria_engine.import_sources (session_id, system, agent_id, external_id) values ($1, 'openclaw', 'aria', 'x')`,
      [sessionId],
    );
    await api.rows(`insert into aria_engine.import_lines (session_id, line, raw) values ($1, 1, '{}')`, [sessionId]);
    expect(await deleteSession({ id, permanent: true })).toEqual({ deletedId: id, session: null });
    expect(await api.session(id)).toBeNull();
    const nodes = await api.app.gql('query ($ids: [ID!]!, $message: ID!) { nodes(ids: $ids) { id } message(id: $message) { id } }', {
      ids: [id, message.id],
      message: message.messageId,
    });
    expect(nodes.expectOk()).toEqual({ nodes: [null, null], message: null });
    for (const table of ['chat_messages', 'chat_session_activity', 'import_sources', 'import_lines']) {
      expect(await api.rows(`select 1 from aria_engine.${table} where session_id = $1`, [sessionId]), table).toEqual([]);
    }
    expect(await api.rows('select agent_id from aria_engine.session_tombstones where session_id = $1', [sessionId])).toEqual([
      { agent_id: 'aria' },
    ]);
    expect((await api.events(sessionId)).at(-1)).toEqual({ type: 'DELETED', payload: { permanent: true } });
    await expectError('deleteSession', { id, permanent: true }, 'SESSION_NOT_FOUND');
    await expectError('restoreSession', { id }, 'SESSION_NOT_FOUND');
  });

  it('deletes a session that is in the trash', async () => {
    const { id, sessionId } = await create();
    await deleteSession({ id });
    expect(await deleteSession({ id, permanent: true, expectedVersion: 2 })).toEqual({ deletedId: id, session: null });
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'DELETED', 'DELETED']);
  });

  it('writes an UPDATED event for each child, and parentId in the DELETED event', async () => {
    const grandparent = await create();
    const parent = await create({ parentId: grandparent.id });
    const child = await create({ parentId: parent.id });
    await deleteSession({ id: parent.id, permanent: true });
    expect(await api.session(child.id)).toMatchObject({ parent: null, depth: 0, version: 2 });
    const payload = { changed: ['parent', 'depth'], formerParentId: parent.sessionId };
    expect((await api.events(child.sessionId)).slice(1)).toEqual([{ type: 'UPDATED', payload }]);
    expect((await api.events(parent.sessionId)).slice(1)).toEqual([
      { type: 'DELETED', payload: { permanent: true, parentId: grandparent.sessionId } },
    ]);
  });

  it('makes the children roots', async () => {
    const parent = await create();
    const child = await create({ parentId: parent.id });
    const grandchild = await create({ parentId: child.id });
    await deleteSession({ id: parent.id, permanent: true });
    expect(await api.session(child.id)).toMatchObject({ parent: null, depth: 0 });
    expect(await api.session(grandchild.id)).toMatchObject({ parent: { sessionId: child.sessionId }, depth: 1 });
  });

  it('leaves no child with a dangling parentId when children are created at the same time', async () => {
    const outcomes = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      const parent = await create();
      const children = Array.from({ length: 6 }, (_, index) => {
        const child = api.send<{ session: SessionView }>('createSession', { parentId: parent.id }, 'session { id sessionId }');
        return index === 2 ? [child, api.send('deleteSession', { id: parent.id, permanent: true })] : [child];
      }).flat();
      for (const outcome of await outcomesOf(children)) outcomes.add(outcome);
      expect(await api.session(parent.id)).toBeNull();
    }
    expect([...outcomes].filter(outcome => outcome !== 'OK' && outcome !== 'SESSION_NOT_FOUND')).toEqual([]);
    const dangling = await api.rows(`select c.id from aria_engine.chat_sessions c where c.parent_id is not null
      and not exists (select from aria_engine.chat_sessions p where p.id = c.parent_id)`);
    expect(dangling).toEqual([]);
  });
});

describe('deleteSession of a parent without permanent', () => {
  it('does not change the children', async () => {
    const parent = await create();
    const child = await create({ parentId: parent.id });
    await deleteSession({ id: parent.id });
    expect(await api.session(child.id)).toMatchObject({ parent: { sessionId: parent.sessionId }, depth: 1, deletedAt: null });
  });
});
