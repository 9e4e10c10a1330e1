import { describe, expect, it } from 'vitest';
import { contentOf, partLength, partsOfStored, partsToStore, type StoredPart } from '../../../../src/modules/message/message.rules.ts';
import { characterCount } from '../../../../src/modules/text/text.rules.ts';

const text = (value: string): StoredPart => ({ type: 'text', text: value });
const result = (content: string): StoredPart => ({ type: 'toolResult', callId: 'c', content, isError: false });

describe('contentOf', () => {
  it('joins the text parts, else the tool results, else returns an empty text', () => {
    expect(contentOf([text('a'), result('b'), text('c')])).toBe('a\nc');
    expect(contentOf([{ type: 'thinking', text: 'hm', redacted: false }, result('b'), result('c')])).toBe('b\nc');
    expect(contentOf([text(''), result('b')])).toBe('');
    expect(contentOf([])).toBe('');
  });
});

describe('partsToStore', () => {
  it('stores no parts for a single text part, and partsOfStored restores the parts', () => {
    for (const parts of [[text('a')], [text('')], [text('a'), text('b')], [result('a')], [text('a'), result('b')]]) {
      const content = contentOf(parts);
      const stored = partsToStore(parts, content);
      expect(stored === null).toBe(parts.length === 1 && parts[0]?.type === 'text');
      expect(partsOfStored(stored, content)).toEqual(parts);
    }
  });
});

describe('partLength', () => {
  it.each<[StoredPart, number]>([
    [text('a\n"💡'), 4],
    [{ type: 'thinking', text: 'abc', redacted: true }, 3],
    [{ type: 'toolCall', callId: 'id', name: 'name', arguments: { a: [1] } }, 2 + 4 + '{"a":[1]}'.length],
    [{ type: 'toolCall', callId: 'id', name: 'name', arguments: 'text' }, 10],
    [{ type: 'toolResult', callId: 'id', content: 'abc', isError: true, details: null }, 5 + 'null'.length],
    [{ type: 'image', mimeType: 'image/png', data: 'AAAA' }, 13],
    [{ type: 'other', data: { type: 'x' } }, '{"type":"x"}'.length],
  ])('returns the length of %j as %i', (part, length) => {
    expect(partLength(part)).toBe(length);
  });
});

describe('characterCount', () => {
  it('counts code points', () => {
    expect([characterCount(''), characterCount('aé'), characterCount('💡𝒜'), characterCount('👩‍💻')]).toEqual([0, 2, 2, 3]);
  });
});
