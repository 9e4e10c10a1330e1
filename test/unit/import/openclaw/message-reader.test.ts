import { describe, expect, it } from 'vitest';
import { readTranscriptMessage, toInstant } from '../../../../src/import/openclaw/message-reader.ts';

const read = (message: object) => readTranscriptMessage({ type: 'message', message }, 'e1');

describe('readTranscriptMessage', () => {
  it.each([
    ['user', 'USER', {}],
    ['assistant', 'ASSISTANT', {}],
    ['toolResult', 'TOOL', {}],
    ['bashExecution', 'TOOL', {}],
    ['compactionSummary', 'SYSTEM', { role: 'compactionSummary' }],
    ['hookMessage', 'OTHER', { role: 'hookMessage' }],
    ['toString', 'OTHER', { role: 'toString' }],
  ])('converts role %s to %s', (role, expected, metadata) => {
    expect(read({ role, content: 'x' })).toMatchObject({ role: expected, metadata });
  });

  it('accepts the part types of other tools, and keeps unknown parts as other', () => {
    expect(
      read({
        role: 'assistant',
        content: [
          { type: 'output_text', text: 'a' },
          'b',
          { type: 'tool_use', id: 't1', name: 'exec', input: { x: 1 } },
          { type: 'redacted_thinking', data: 'z' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'aGk=' } },
          { type: 'video', url: 'v' },
          { noType: true },
          7,
        ],
      }),
    ).toMatchObject({
      content: 'a\nb',
      parts: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
        { type: 'toolCall', callId: 't1', name: 'exec', arguments: { x: 1 } },
        { type: 'thinking', text: '', redacted: true },
        { type: 'image', mimeType: 'image/png', data: 'aGk=' },
        { type: 'other', data: { type: 'video', url: 'v' } },
        { type: 'other', data: { type: 'unknown', noType: true } },
        { type: 'other', data: { type: 'unknown', value: 7 } },
      ],
    });
  });

  it('stores a single text as content only, and an empty message without parts', () => {
    expect(read({ role: 'user', content: 'hi' })).toMatchObject({ content: 'hi', parts: null });
    expect(read({ role: 'assistant', content: [] })).toMatchObject({ content: '', parts: [] });
  });

  it('converts a bash execution to a tool result', () => {
    expect(read({ role: 'bashExecution', command: 'false', output: 'no', exitCode: 1, cancelled: false, truncated: false })).toMatchObject({
      content: 'no',
      metadata: {},
      parts: [{ type: 'toolResult', callId: 'e1', name: 'bash', content: 'no', isError: true, details: { command: 'false', exitCode: 1 } }],
    });
  });

  it('reads usage in both formats, and sums the cost if there is no total', () => {
    expect(read({ role: 'assistant', content: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 9 } })).toMatchObject({
      usage: { inputTokens: 3n, outputTokens: 4n, cacheReadTokens: 0n, cacheWriteTokens: 0n, totalTokens: 9n, costNanoUsd: 0n },
    });
    expect(
      read({ role: 'assistant', content: [], usage: { input: 1, output: -2, cacheRead: 1e300, cost: { input: 0.5, output: 0.25 } } }),
    ).toMatchObject({
      usage: { inputTokens: 1n, outputTokens: 0n, cacheReadTokens: 0n, totalTokens: 1n, costNanoUsd: 750_000_000n },
    });
    expect(read({ role: 'user', content: 'x' })).toMatchObject({ usage: null });
  });

  it('converts summaries and custom messages to messages, and returns null for other lines', () => {
    expect(readTranscriptMessage({ type: 'compaction', id: 'c', summary: 's', firstKeptEntryId: 'e', tokensBefore: 5 }, 'c')).toMatchObject(
      {
        role: 'SYSTEM',
        content: 's',
        metadata: { type: 'compaction', firstKeptEntryId: 'e', tokensBefore: 5 },
        compaction: { entryId: 'e' },
      },
    );
    expect(readTranscriptMessage({ type: 'branch_summary', summary: 's', fromId: 'x' }, 'b')).toMatchObject({
      role: 'SYSTEM',
      compaction: null,
    });
    expect(readTranscriptMessage({ type: 'custom_message', customType: 'note', content: 'c', display: false }, 'm')).toMatchObject({
      role: 'OTHER',
      content: 'c',
      metadata: { customType: 'note', display: false },
    });
    expect(readTranscriptMessage({ type: 'model_change' }, 'm')).toBeNull();
    expect(readTranscriptMessage({ type: 'message', message: 'x' }, 'm')).toBe('malformed');
  });
});

describe('toInstant', () => {
  it('accepts ISO text and milliseconds, and returns null for anything else', () => {
    expect(toInstant('2026-02-10T09:00:00Z')).toEqual(new Date(Date.UTC(2026, 1, 10, 9)));
    expect(toInstant(0)).toEqual(new Date(0));
    for (const value of ['soon', Number.NaN, 1e15, -1e15, null, undefined, {}]) expect(toInstant(value)).toBeNull();
  });
});
