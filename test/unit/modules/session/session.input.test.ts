import { describe, expect, it } from 'vitest';
import { assertUpdate, readDescription, readIdentity, readReason, readType } from '../../../../src/modules/session/session.input.ts';

const limits = { maxTokenLimit: 100 };
const rules = { defaultAgent: 'main', mainKey: 'main' };
const errorFor = (field: string, code = 'BAD_USER_INPUT') => expect.objectContaining({ code, details: expect.objectContaining({ field }) });

describe('readDescription', () => {
  it('leaves out absent fields and clears fields that are null', () => {
    expect(readDescription({}, limits)).toEqual({});
    expect(readDescription({ title: null, label: undefined, tags: null, tokenLimit: null, origin: null, priority: null }, limits)).toEqual({
      given_title: null,
      tags: [],
      token_limit: null,
      origin: null,
    });
  });

  it('trims names, keeps texts unchanged, removes duplicate tags and drops nulls in objects', () => {
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

  it('names the invalid field in the error', () => {
    expect(() => readDescription({ title: 'x'.repeat(201) }, limits)).toThrow(errorFor('input.title', 'TITLE_TOO_LONG'));
    expect(() => readDescription({ tokenLimit: 101 }, limits)).toThrow(errorFor('input.tokenLimit', 'INVALID_TOKEN_LIMIT'));
    expect(() => readDescription({ tags: ['a', 'x'.repeat(65)] }, limits)).toThrow(errorFor('input.tags.1'));
    expect(() => readDescription({ origin: { from: 'x'.repeat(1_001) } }, limits)).toThrow(errorFor('input.origin.from'));
    expect(() => readDescription({ prompt: 'x'.repeat(1_000_001) }, limits)).toThrow(errorFor('input.prompt'));
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
  ])('returns the agent and canonical key of %j', (input, agentId, key) => {
    expect(readIdentity(input, rules, 'fallback')).toEqual({ agentId, key });
  });

  it('rejects an agent that differs from the key’s, and a key whose canonical form is too long', () => {
    expect(() => readIdentity({ key: 'agent:work:x', agentId: 'main' }, rules, 'main')).toThrow(errorFor('input.agentId'));
    expect(() => readIdentity({ key: 'x'.repeat(502) }, rules, 'main')).toThrow(errorFor('input.key'));
  });
});

describe('readType', () => {
  it('returns the type in lower case, and chat if it is absent', () => {
    expect([readType(null), readType(undefined), readType(' CRON ')]).toEqual(['chat', 'chat', 'cron']);
  });
});

describe('readReason', () => {
  it('trims the reason and returns null if it is blank or absent', () => {
    expect([readReason(' a ', 'f'), readReason(' ', 'f'), readReason(null, 'f'), readReason(undefined, 'f')]).toEqual([
      'a',
      null,
      null,
      null,
    ]);
    expect(() => readReason('x'.repeat(2_001), 'f')).toThrow(errorFor('f'));
  });
});

describe('assertUpdate', () => {
  it('accepts malformed ids, which cause a not-found error later', () => {
    expect(() => assertUpdate({ id: '\0', parentId: '\ud800' })).not.toThrow();
  });
});
