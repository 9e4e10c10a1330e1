import { describe, expect, it } from 'vitest';
import { assertUpdate, readIdentity, readReason, readType } from '../../../../src/modules/session-mutation/session-mutation.input.ts';

const rules = { defaultAgent: 'main', mainKey: 'main' };
const errorFor = (field: string) => expect.objectContaining({ code: 'BAD_USER_INPUT', details: expect.objectContaining({ field }) });

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
