import { describe, expect, it } from 'vitest';
import { readDescription } from '../../../../src/modules/session-mutation/session-description.input.ts';

const limits = { maxTokenLimit: 100 };
const errorFor = (field: string, code = 'BAD_USER_INPUT') => expect.objectContaining({ code, details: expect.objectContaining({ field }) });

describe('readDescription', () => {
  it('leaves out absent fields and clears fields that are null', () => {
    expect(readDescription({}, limits)).toEqual({});
    expect(readDescription({ title: null, label: undefined, tags: null, tokenLimit: null, origin: null, priority: null }, limits)).toEqual({
      givenTitle: null,
      tags: [],
      tokenLimit: null,
      origin: null,
      priority: 'NORMAL',
    });
  });

  it('trims names, keeps texts unchanged, removes duplicate tags and drops nulls in objects', () => {
    const input = { title: ' a ', label: ' b ', task: ' c ', prompt: '', tags: ['x', ' x ', 'y'], delivery: { to: '7', channel: null } };
    expect(readDescription(input, limits)).toEqual({
      givenTitle: 'a',
      label: 'b',
      task: ' c ',
      prompt: '',
      tags: ['x', 'y'],
      delivery: { to: '7' },
    });
  });

  it('names the invalid field in the error', () => {
    expect(() => readDescription({ title: 'x'.repeat(201) }, limits)).toThrow(errorFor('input.title', 'TITLE_TOO_LONG'));
    expect(() => readDescription({ tokenLimit: 101 }, limits)).toThrow(errorFor('input.tokenLimit', 'INVALID_TOKEN_LIMIT'));
    expect(() => readDescription({ tags: ['a', 'x'.repeat(65)] }, limits)).toThrow(errorFor('input.tags.1'));
    expect(() => readDescription({ origin: { from: 'x'.repeat(1_001) } }, limits)).toThrow(errorFor('input.origin.from'));
    expect(() => readDescription({ prompt: 'x'.repeat(1_000_001) }, limits)).toThrow(errorFor('input.prompt'));
  });
});
