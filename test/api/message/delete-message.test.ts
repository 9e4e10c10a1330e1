import { describe, expect, it } from 'vitest';
import { type MessageView, outcomesOf, useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi();
const { append, create, expectError } = api;

const UNKNOWN = '00000000-0000-7000-8000-000000000000';

const deleteMessage = (sessionId: string, id: string) =>
  api.mutate<{ deletedId: string; session: { messageCount: number } }>(
    'deleteMessage',
    { sessionId, id },
    'deletedId session { messageCount }',
  );

/** Creates a session with one message for each entry. The entry is the position of its parent; null for the default parent. */
async function createTree(
  parents: readonly (number | null)[],
): Promise<{ readonly id: string; readonly sessionId: string; at(position: number): MessageView }> {
  const { id, sessionId } = await create();
  const messages: MessageView[] = [];
  const at = (position: number): MessageView => {
    const message = messages[position - 1];
    if (message === undefined) throw new Error(`There is no message at position ${position}.`);
    return message;
  };
  for (const parent of parents) messages.push(await append(id, { content: 'x', ...(parent === null ? {} : { parentId: at(parent).id }) }));
  return { id, sessionId, at };
}

/** Returns position, parent position and `active` of every message. */
async function shapeOf(id: string): Promise<readonly (readonly [number, number | null, boolean])[]> {
  return (await api.messages(id)).map(({ position, parent, active }) => [position, parent?.position ?? null, active] as const);
}

describe('deleteMessage', () => {
  it('removes the message and updates messageCount and lastMessageAt, but keeps the usage', async () => {
    const { id, sessionId } = await create();
    const usage = { inputTokens: 10, outputTokens: 5, costUsd: 0.5 };
    const [first, second] = [await append(id, { content: 'title of it', usage }), await append(id, { content: 'b', usage })];
    const before = await api.session(id);
    expect(await deleteMessage(id, second.id)).toEqual({ deletedId: second.id, session: { messageCount: 1 } });
    const after = await api.session(id);
    expect(after).toEqual({ ...before, messageCount: 1, lastMessageAt: first.createdAt, updatedAt: after?.updatedAt });
    expect((await api.events(sessionId)).at(-1)).toEqual({
      type: 'MESSAGE_DELETED',
      payload: { messageId: second.messageId, position: 2 },
    });
    await deleteMessage(id, first.messageId);
    expect(await api.session(id)).toMatchObject({
      messageCount: 0,
      lastMessageAt: null,
      title: 'title of it',
      version: 1,
      usage: { inputTokens: 20 },
    });
  });

  it('sets lastMessageAt to the time of the message that is the last of the branch then', async () => {
    const { id } = await create();
    const [first, second, third] = ['2003', '2001', '2002'].map(year => `${year}-01-01T00:00:00.000Z`);
    const root = await append(id, { content: 'root', createdAt: first });
    await append(id, { content: 'other branch', createdAt: second });
    const reply = await append(id, { content: 'reply', createdAt: third, parentId: root.id });
    expect(await api.session(id)).toMatchObject({ lastMessageAt: third });
    await deleteMessage(id, reply.messageId);
    expect(await api.session(id)).toMatchObject({ lastMessageAt: first });
    await deleteMessage(id, root.messageId);
    expect(await api.session(id)).toMatchObject({ lastMessageAt: second });
  });

  it('never reuses the position of a deleted message', async () => {
    const { id, at } = await createTree([null, 1, 2]);
    await deleteMessage(id, at(3).id);
    expect(await append(id, { content: 'x' })).toMatchObject({ position: 4, parent: { position: 2 } });
    for (const message of await api.messages(id)) await deleteMessage(id, message.id);
    expect(await append(id, { content: 'x' })).toMatchObject({ position: 5, parent: null, active: true });
  });

  it('makes the children of the message children of its parent', async () => {
    const { id, at } = await createTree([null, 1, 2, 2, 3]);
    expect(await shapeOf(id)).toEqual([
      [1, null, true],
      [2, 1, true],
      [3, 2, true],
      [4, 2, false],
      [5, 3, true],
    ]);
    await deleteMessage(id, at(2).id);
    expect(await shapeOf(id)).toEqual([
      [1, null, true],
      [3, 1, true],
      [4, 1, false],
      [5, 3, true],
    ]);
    await deleteMessage(id, at(1).id);
    expect(await shapeOf(id)).toEqual([
      [3, null, true],
      [4, null, false],
      [5, 3, true],
    ]);
    expect(await append(id, { content: 'x' })).toMatchObject({ position: 6, parent: { position: 5 } });
  });

  it('makes the parent the new leaf when the leaf is deleted', async () => {
    const { id, at } = await createTree([null, 1, 2, 1]);
    await deleteMessage(id, at(4).id);
    expect(await shapeOf(id)).toEqual([
      [1, null, true],
      [2, 1, false],
      [3, 2, false],
    ]);
    expect(await append(id, { content: 'x' })).toMatchObject({ parent: { position: 1 } });
  });

  it('makes the newest message the new leaf when the leaf is deleted and has no parent', async () => {
    const { id, at } = await createTree([null, 1, 2, 1]);
    await deleteMessage(id, at(4).id);
    await deleteMessage(id, at(1).id);
    expect(await shapeOf(id)).toEqual([
      [2, null, true],
      [3, 2, true],
    ]);
    expect(await append(id, { content: 'x' })).toMatchObject({ parent: { position: 3 }, active: true });
  });

  it('does not change the active branch when the message is on another branch', async () => {
    const { id, at } = await createTree([null, 1, 1]);
    await deleteMessage(id, at(2).id);
    expect(await shapeOf(id)).toEqual([
      [1, null, true],
      [3, 1, true],
    ]);
  });

  it('keeps the active branch a path from the leaf to its root, in any order of deletion', async () => {
    for (const order of [
      [1, 2, 3, 4, 5, 6, 7],
      [7, 6, 5, 4, 3, 2, 1],
      [4, 1, 6, 2, 7, 3, 5],
      [7, 1, 5, 2, 6, 4, 3],
    ]) {
      const { id, at } = await createTree([null, 1, 2, 1, 4, 4, 2]);
      for (const position of order) {
        await deleteMessage(id, at(position).id);
        const shape = await shapeOf(id);
        const active = shape.filter(([, , isActive]) => isActive);
        const positions = new Set(shape.map(([each]) => each));
        expect(shape.every(([each, parent]) => parent === null || (parent < each && positions.has(parent)))).toBe(true);
        expect(active.map(([, parent]) => parent)).toEqual([null, ...active.map(([each]) => each)].slice(0, active.length));
        expect(active.length > 0).toBe(shape.length > 0);
      }
    }
  });

  it('needs four statements for a message without children and five for one with many', async () => {
    const { id, at } = await createTree([null, 1, 1, 1, 1, 1, 1]);
    expect((await api.send('deleteMessage', { sessionId: id, id: at(2).id }, 'deletedId')).sql).toHaveLength(4);
    expect((await api.send('deleteMessage', { sessionId: id, id: at(1).id }, 'deletedId')).sql).toHaveLength(5);
  });

  it('works in a session that has ended', async () => {
    const { id, at } = await createTree([null]);
    await api.mutate('endSession', { id }, '__typename');
    expect(await deleteMessage(id, at(1).id)).toMatchObject({ session: { messageCount: 0 } });
  });

  it('returns MESSAGE_NOT_FOUND for ids that are unknown, malformed, of another session or already deleted', async () => {
    const { id, at } = await createTree([null]);
    const other = await createTree([null]);
    for (const wrong of [UNKNOWN, 'nonsense', '', id, other.at(1).id, other.at(1).messageId, 'a\0']) {
      const error = await expectError('deleteMessage', { sessionId: id, id: wrong }, 'MESSAGE_NOT_FOUND');
      expect(error.extensions.details).toEqual({ id: wrong });
    }
    await deleteMessage(id, at(1).id);
    await expectError('deleteMessage', { sessionId: id, id: at(1).id }, 'MESSAGE_NOT_FOUND');
    expect(await api.messages(other.id)).toHaveLength(1);
  });

  it('returns SESSION_NOT_FOUND for session ids that are unknown, malformed or of a message', async () => {
    const { at } = await createTree([null]);
    for (const sessionId of [UNKNOWN, 'nonsense', at(1).id])
      await expectError('deleteMessage', { sessionId, id: at(1).id }, 'SESSION_NOT_FOUND');
  });

  it('succeeds for one of ten concurrent calls and returns MESSAGE_NOT_FOUND to the others', async () => {
    const { id, sessionId, at } = await createTree([null, 1]);
    const outcomes = await outcomesOf(Array.from({ length: 10 }, () => api.send('deleteMessage', { sessionId: id, id: at(2).id })));
    expect(outcomes.sort()).toEqual([...Array(9).fill('MESSAGE_NOT_FOUND'), 'OK']);
    expect(await api.session(id)).toMatchObject({ messageCount: 1 });
    expect((await api.events(sessionId)).filter(({ type }) => type === 'MESSAGE_DELETED')).toHaveLength(1);
  });
});
