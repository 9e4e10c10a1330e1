import { describe, expect, it } from 'vitest';
import { type MessageInput, readMessage, readMessages } from '../../../../src/modules/message/message.input.ts';

const errorFor = (field: string, code = 'BAD_USER_INPUT') => expect.objectContaining({ code, details: expect.objectContaining({ field }) });
const user = (input: Omit<MessageInput, 'role'>): MessageInput => ({ role: 'USER', ...input });

describe('readMessage', () => {
  it('sets absent fields to null, and absent metadata to an empty object', () => {
    expect(readMessage(user({ content: 'a' }), 'm')).toEqual({
      role: 'USER',
      content: 'a',
      parts: null,
      agentId: null,
      model: null,
      provider: null,
      usage: null,
      latencyMs: null,
      stopReason: null,
      metadata: {},
      parentId: null,
      createdAt: null,
    });
  });

  it('puts the content as a text part before the parts', () => {
    expect(readMessage(user({ content: 'a', parts: [{ text: { text: 'b' } }] }), 'm')).toMatchObject({
      content: 'a\nb',
      parts: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    });
  });

  it('accepts 1,000 parts and rejects more', () => {
    const parts = Array.from({ length: 1_000 }, () => ({ text: { text: 'a' } }));
    expect(readMessage(user({ parts }), 'm').parts).toHaveLength(1_000);
    expect(() => readMessage(user({ parts: [...parts, { text: { text: 'a' } }] }), 'm')).toThrow(errorFor('m.parts'));
  });

  it.each<[string, Omit<MessageInput, 'role'>, string]>([
    ['a message without content and parts', {}, 'm'],
    ['NUL in a part', { parts: [{ thinking: { text: '\0' } }] }, 'm.parts.0.thinking.text'],
    ['a negative count', { content: 'a', usage: { cacheReadTokens: -1 } }, 'm.usage.cacheReadTokens'],
    ['a cost that is not a number', { content: 'a', usage: { costUsd: Number.NaN } }, 'm.usage.costUsd'],
    ['metadata that is not an object', { content: 'a', metadata: 'text' }, 'm.metadata'],
  ])('rejects %s', (_what, input, field) => {
    expect(() => readMessage(user(input), 'm')).toThrow(errorFor(field));
  });
});

describe('readMessages', () => {
  it('limits the total length of all messages of a call', () => {
    const full = user({ content: 'x'.repeat(100_000) });
    expect(readMessages(Array(10).fill(full), 'm')).toHaveLength(10);
    expect(() => readMessages([...Array(10).fill(full), user({ parts: [{ thinking: { text: 'x' } }] })], 'm')).toThrow(
      errorFor('m', 'MESSAGE_TOO_LARGE'),
    );
  });
});
