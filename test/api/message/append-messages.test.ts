import { describe, expect, it } from 'vitest';
import { MESSAGE, type MessageView, typesOf, useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi();
const { create, expectError } = api;

const user = (content: string, more: object = {}) => ({ role: 'USER', content, ...more });
const numbered = (length: number) => Array.from({ length }, (_, index) => user(`message ${index + 1}`));

async function appendAll(sessionId: string, messages: readonly object[]): Promise<readonly MessageView[]> {
  return (await api.mutate<{ messages: MessageView[] }>('appendMessages', { sessionId, messages }, `messages { ${MESSAGE} }`)).messages;
}

describe('appendMessages', () => {
  it('appends the messages in order, each as a child of the previous one', async () => {
    const { id, sessionId } = await create();
    await api.append(id, { content: 'before' });
    const messages = await appendAll(id, numbered(5));
    expect(messages.map(({ position, content, parent }) => [position, content, parent?.position])).toEqual([
      [2, 'message 1', 1],
      [3, 'message 2', 2],
      [4, 'message 3', 3],
      [5, 'message 4', 4],
      [6, 'message 5', 5],
    ]);
    expect(await api.messages(id)).toEqual([expect.objectContaining({ position: 1 }), ...messages]);
    expect(await api.session(id)).toMatchObject({ messageCount: 6, version: 1, title: 'before' });
    expect((await api.events(sessionId)).slice(2)).toEqual(
      messages.map(({ messageId, position }) => ({ type: 'MESSAGE_ADDED', payload: { messageId, position } })),
    );
    expect((await api.append(id, { content: 'after' })).parent).toEqual({ position: 6 });
  });

  it('returns BAD_USER_INPUT for 0 and for 101 messages', async () => {
    const { id } = await create();
    expect(await appendAll(id, numbered(1))).toHaveLength(1);
    for (const messages of [[], numbered(101)]) {
      const error = await expectError('appendMessages', { sessionId: id, messages }, 'BAD_USER_INPUT');
      expect(error.extensions.details).toEqual({ field: 'input.messages' });
    }
  });

  it('needs one statement for 100 messages, four if all fields are selected and five if it branches', async () => {
    const { id } = await create();
    const input = { sessionId: id, messages: numbered(100) };
    expect((await api.send('appendMessages', input, 'messages { id position }')).sql).toHaveLength(1);
    expect((await api.send('appendMessages', input, `messages { ${MESSAGE} } session { id messageCount }`)).sql).toHaveLength(4);
    const [first] = await api.messages(id);
    const branching = { sessionId: id, messages: [user('branch', { parentId: first?.id }), ...numbered(99)] };
    expect((await api.send('appendMessages', branching, 'messages { id position }')).sql).toHaveLength(5);
    const positions = (await api.messages(id)).map(({ position }) => position);
    expect(positions).toEqual(Array.from({ length: 300 }, (_, index) => index + 1));
  });

  it('writes nothing if one message is invalid', async () => {
    const { id, sessionId } = await create();
    const before = await api.session(id);
    const valid = numbered(3);
    await expectError('appendMessages', { sessionId: id, messages: [...valid, { role: 'USER' }] }, 'BAD_USER_INPUT');
    await expectError('appendMessages', { sessionId: id, messages: [...valid, user('x'.repeat(100_001))] }, 'MESSAGE_TOO_LARGE');
    await expectError('appendMessages', { sessionId: id, messages: [...valid, user('x', { parentId: 'nonsense' })] }, 'MESSAGE_NOT_FOUND');
    expect(await api.session(id)).toEqual(before);
    expect(typesOf(await api.events(sessionId))).toEqual(['CREATED']);
  });

  it('names the index of the invalid message in details.field', async () => {
    const { id } = await create();
    const faults: [object, Parameters<typeof expectError>[2], string][] = [
      [user('a\0'), 'BAD_USER_INPUT', 'input.messages.2.content'],
      [user('a', { usage: { inputTokens: -1 } }), 'BAD_USER_INPUT', 'input.messages.2.usage.inputTokens'],
      [user('x'.repeat(100_001)), 'MESSAGE_TOO_LARGE', 'input.messages.2.content'],
    ];
    for (const [message, code, field] of faults) {
      const error = await expectError('appendMessages', { sessionId: id, messages: [...numbered(2), message, ...numbered(1)] }, code);
      expect(error.extensions.details).toMatchObject({ field });
    }
  });

  it('returns MESSAGE_TOO_LARGE for more than 1,000,000 characters in total', async () => {
    const { id } = await create();
    const full = Array.from({ length: 10 }, () => user('é'.repeat(100_000)));
    expect(await appendAll(id, full)).toHaveLength(10);
    const error = await expectError('appendMessages', { sessionId: id, messages: [...full, user('x')] }, 'MESSAGE_TOO_LARGE');
    expect(error.extensions.details).toEqual({ field: 'input.messages', length: 1_000_001, maxLength: 1_000_000 });
  });

  it('adds up the usage and fails the session once if all messages together reach its token limit', async () => {
    const { id, sessionId } = await create({ tokenLimit: 1_000, status: 'SPAWNING' });
    const usage = { inputTokens: 100, costUsd: 0.1 };
    const messages = await appendAll(
      id,
      Array.from({ length: 12 }, () => user('x', { usage })),
    );
    expect(messages).toHaveLength(12);
    expect(await api.session(id)).toMatchObject({
      status: 'FAILED',
      statusReason: 'Token limit exceeded',
      version: 2,
      messageCount: 12,
      usage: { inputTokens: 1_200, totalTokens: 1_200, costUsd: 1.2 },
    });
    const events = await api.events(sessionId);
    expect(typesOf(events)).toEqual(['CREATED', ...Array(12).fill('MESSAGE_ADDED'), 'STATUS_CHANGED']);
    expect(events.at(-1)?.payload).toMatchObject({
      from: 'SPAWNING',
      to: 'FAILED',
      usage: { totalTokens: 1_200, costNanoUsd: 1_200_000_000 },
    });
  });

  it('caps the total at Number.MAX_SAFE_INTEGER and fails the session if the sum is larger', async () => {
    const { id } = await create({ tokenLimit: 1_000 });
    const messages = Array.from({ length: 20 }, () => user('x', { usage: { totalTokens: Number.MAX_SAFE_INTEGER } }));
    expect(await appendAll(id, messages)).toHaveLength(20);
    expect(await api.session(id)).toMatchObject({ status: 'FAILED', usage: { totalTokens: Number.MAX_SAFE_INTEGER } });
  });

  it('derives the title from the first user message with text', async () => {
    const { id } = await create();
    await appendAll(id, [{ role: 'ASSISTANT', content: 'Hello!' }, user(' '), user('The task'), user('Another')]);
    expect(await api.session(id)).toMatchObject({ title: 'The task' });
  });

  it('may start a branch in the middle of the call; later messages continue that branch', async () => {
    const { id } = await create();
    const [root] = await appendAll(id, numbered(3));
    const messages = await appendAll(id, [user('straight on'), user('branch', { parentId: root?.id }), user('child of the branch')]);
    expect(messages.map(({ position, parent, active }) => [position, parent?.position, active])).toEqual([
      [4, 3, false],
      [5, 1, true],
      [6, 5, true],
    ]);
    expect((await api.messages(id)).filter(({ active }) => active).map(({ position }) => position)).toEqual([1, 5, 6]);
  });

  it('may start several branches in one call; the last one is active', async () => {
    const { id } = await create();
    const [root, second] = await appendAll(id, numbered(2));
    const messages = await appendAll(id, [
      user('a', { parentId: root?.id }),
      user('b', { parentId: second?.messageId }),
      user('c', { parentId: root?.id }),
    ]);
    expect(messages.map(({ parent, active }) => [parent?.position, active])).toEqual([
      [1, false],
      [2, false],
      [1, true],
    ]);
  });
});
