import { describe, expect, it } from 'vitest';
import { outcomesOf, SESSION, type SessionView, typesOf, useMutationApi } from './mutation-api.ts';

const api = useMutationApi();
const { create, expectError } = api;

const restore = async (input: Record<string, unknown>) =>
  (await api.mutate<{ session: SessionView }>('restoreSession', input, `session { ${SESSION} }`)).session;

async function createTrashed(input: Record<string, unknown> = {}): Promise<SessionView> {
  const { id } = await create(input);
  return (await api.mutate<{ session: SessionView }>('deleteSession', { id }, `session { ${SESSION} }`)).session;
}

describe('restoreSession', () => {
  it('restores a trashed session without other changes', async () => {
    const before = await create({ key: 'restored', label: 'restored', status: 'WORKING', metadata: { a: 1 } });
    const { id, sessionId } = before;
    await api.mutate('deleteSession', { id }, 'deletedId');
    const session = await restore({ id });
    expect(session).toEqual({ ...before, version: 3, updatedAt: session.updatedAt });
    expect((await api.events(sessionId)).slice(1)).toEqual([
      { type: 'DELETED', payload: { permanent: false } },
      { type: 'RESTORED', payload: {} },
    ]);
    const list = await api.app.gql('{ sessions(filter: { key: { eq: "agent:main:restored" } }) { nodes { sessionId } } }');
    expect(list.expectOk()).toEqual({ sessions: { nodes: [{ sessionId }] } });
    expect((await api.append(id, { content: 'again' })).position).toBe(1);
  });

  it('needs three statements: to lock, to write and to read the session of the payload', async () => {
    const { id } = await createTrashed();
    expect((await api.send('restoreSession', { id }, 'session { id deletedAt purgeAt }')).sql).toHaveLength(3);
  });

  it('does not change a session that is not in the trash', async () => {
    const session = await create({ key: 'never-deleted', label: 'never deleted' });
    expect(await restore({ id: session.id, dropKey: true, dropLabel: true })).toEqual(session);
    expect(typesOf(await api.events(session.sessionId))).toEqual(['CREATED']);
  });

  it('returns KEY_TAKEN if another session has taken the key, unless dropKey is set', async () => {
    const { id } = await createTrashed({ key: 'contested', label: 'kept label' });
    const holder = await create({ key: 'contested' });
    const error = await expectError('restoreSession', { id }, 'KEY_TAKEN');
    expect(error.extensions.details).toEqual({ value: 'agent:main:contested' });
    await expectError('restoreSession', { id, dropLabel: true, dropKey: null }, 'KEY_TAKEN');
    expect(await api.session(id)).toMatchObject({ deletedAt: expect.any(String), version: 2, label: 'kept label' });
    expect(await restore({ id, dropKey: true })).toMatchObject({
      key: null,
      kind: 'OTHER',
      label: 'kept label',
      deletedAt: null,
      version: 3,
    });
    expect(await api.session(holder.id)).toEqual(holder);
  });

  it('returns LABEL_TAKEN if another session has taken the label, unless dropLabel is set', async () => {
    const { id } = await createTrashed({ key: 'kept-key', label: 'contested' });
    await create({ label: 'contested' });
    const error = await expectError('restoreSession', { id }, 'LABEL_TAKEN');
    expect(error.extensions.details).toEqual({ value: 'contested' });
    expect(await restore({ id, dropLabel: true })).toMatchObject({
      key: 'agent:main:kept-key',
      kind: 'DIRECT',
      label: null,
      deletedAt: null,
    });
  });

  it('returns SESSION_NOT_FOUND for unknown and malformed ids', async () => {
    for (const id of ['00000000-0000-7000-8000-000000000000', 'nonsense', 'a\0'])
      await expectError('restoreSession', { id }, 'SESSION_NOT_FOUND');
  });

  it('restores one of ten trashed sessions with the same key and returns KEY_TAKEN for the others', async () => {
    const sessions: SessionView[] = [];
    for (let index = 0; index < 10; index += 1) sessions.push(await createTrashed({ key: 'in-turn' }));
    const outcomes = await outcomesOf(sessions.map(({ id }) => api.send('restoreSession', { id })));
    expect(outcomes.sort()).toEqual([...Array(9).fill('KEY_TAKEN'), 'OK']);
  });

  it('restores once and returns the session to all of ten concurrent calls', async () => {
    const { id, sessionId } = await createTrashed();
    await Promise.all(Array.from({ length: 10 }, () => restore({ id })));
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'DELETED', 'RESTORED']);
    expect(await api.session(id)).toMatchObject({ version: 3 });
  });
});
