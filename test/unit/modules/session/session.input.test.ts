import { describe, expect, it } from 'vitest';
import { assertUpdate, readDescription, readIdentity, readReason, readType } from '../../../../src/modules/session/session.input.ts';

const limits = { maxTokenLimit: 100 };
const rules = { defaultAgent: 'main', mainKey: 'main' };
const fault = (field: string, code = 'BAD_USER_INPUT') => expect.objectContaining({ code, details: expect.objectContaining({ field }) });

describe('readDescription', () => {
  it('tells left out from cleared', () => {
    expect(readDescription({}, limits)).toEqual({});
    expect(readDescription({ title: null, label: undefined, tags: null, tokenLimit: null, origin: null, priority: null }, limits)).toEqual({
      given_title: null,
      tags: [],
      token_limit: null,
      origin: null,
    });
  });

  it('trims names, keeps texts, folds tags, and drops nulls within objects', () => {
    const input = { title: ' a ', label: ' b ', task: ' c ', prompt: '', tags: ['x', ' x ', 'y'], delivery: { to: '7', channel: null } };
    expect(readDescription(input, limits)).toEqual({
      given_title: 'a',
      label: 'b',
      task: ' c ',
      prompt: '',
      tags: ['x', 'y'],
      delivery: { to: '7' },
    });
  });

  it('names the field at fault', () => {
    expect(() => readDescription({ title: 'x'.repeat(201) }, limits)).toThrow(fault('input.title', 'TITLE_TOO_LONG'));
    expect(() => readDescription({ tokenLimit: 101 }, limits)).toThrow(fault('input.tokenLimit', 'INVALID_TOKEN_LIMIT'));
    expect(() => readDescription({ tags: ['a', 'x'.repeat(65)] }, limits)).toThrow(fault('input.tags.1'));
    expect(() => readDescription({ origin: { from: 'x'.repeat(1_001) } }, limits)).toThrow(fault('input.origin.from'));
    expect(() => readDescription({ prompt: 'x'.repeat(1_000_001) }, limits)).toThrow(fault('input.prompt'));
  });
});

describe('readIdentity', () => {
  it.each([
    [{}, 'fallback', null],
    [{ agentId: ' Work Bot ' }, 'work-bot', null],
    [{ key: 'x' }, 'fallback', 'agent:fallback:x'],
    [{ key: 'x', agentId: 'Work' }, 'work', 'agent:work:x'],
    [{ key: 'agent:Work:main', agentId: 'WORK' }, 'work', 'agent:work:main'],
    [{ key: ' global ', agentId: 'work' }, 'work', 'global'],
    [{ key: null, agentId: null }, 'fallback', null],
  ])('of %j', (input, agentId, key) => {
    expect(readIdentity(input, rules, 'fallback')).toEqual({ agentId, key });
  });

  it('refuses an agent that is not the key’s, and a key too long once canonical', () => {
    expect(() => readIdentity({ key: 'agent:work:x', agentId: 'main' }, rules, 'main')).toThrow(fault('input.agentId'));
    expect(() => readIdentity({ key: 'x'.repeat(502) }, rules, 'main')).toThrow(fault('input.key'));
  });
});

describe('readType', () => {
  it('is lower case, and chat where left out', () => {
    expect([readType(null), readType(undefined), readType(' CRON ')]).toEqual(['chat', 'chat', 'cron']);
  });
});

describe('readReason', () => {
  it('is trimmed, and null where blank', () => {
    expect([readReason(' a ', 'f'), readReason(' ', 'f'), readReason(null, 'f'), readReason(undefined, 'f')]).toEqual([
      'a',
      null,
      null,
      null,
    ]);
    expect(() => readReason('x'.repeat(2_001), 'f')).toThrow(fault('f'));
  });
});

describe('assertUpdate', () => {
  it('lets malformed ids through, which are to be told as not found', () => {
    expect(() => assertUpdate({ id: '\0', parentId: '\ud800' })).not.toThrow();
  });
});
