import { describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../../scripts/seed/random-source.ts';
import {
  canonicalKey,
  isMainSessionKey,
  isWellFormedKey,
  type KeyRules,
  normalizeAgentId,
  sessionKind,
} from '../../../../src/modules/session-key/session-key.rules.ts';

const rules: KeyRules = { defaultAgent: 'main', mainKey: 'main' };
const renamed: KeyRules = { defaultAgent: 'aria', mainKey: 'home' };

describe('normalizeAgentId', () => {
  it.each([
    ['main', 'main'],
    ['  Research_Bot-2 ', 'research_bot-2'],
    ['My Agent!', 'my-agent'],
    ['--x--', 'x'],
    ['агент', 'main'],
    ['', 'main'],
    ['a'.repeat(80), 'a'.repeat(64)],
  ])('normalizes %j to %j', (text, expected) => {
    expect(normalizeAgentId(text)).toBe(expected);
  });
});

describe('canonicalKey', () => {
  it.each([
    ['main', 'agent:main:main', 'main'],
    [' global ', 'global', null],
    ['unknown', 'unknown', null],
    ['agent:main:main', 'agent:main:main', 'main'],
    ['agent:Work Bot:telegram:direct:7', 'agent:work-bot:telegram:direct:7', 'work-bot'],
    ['agent::main:x', 'agent:main:x', 'main'],
    ['cron:job:run:1', 'agent:main:cron:job:run:1', 'main'],
    ['Agent:Main:x', 'agent:main:Agent:Main:x', 'main'],
    ['agent:main', 'agent:main', 'main'],
    ['agent:main:a::b:', 'agent:main:a::b:', 'main'],
    ['', '', 'main'],
  ])('normalizes %j to %j', (raw, key, agentId) => {
    expect(canonicalKey(raw, rules)).toEqual({ key, agentId });
  });

  it('treats main and the configured main key as the same key', () => {
    expect(canonicalKey('main', renamed).key).toBe('agent:aria:home');
    expect(canonicalKey('home', renamed).key).toBe('agent:aria:home');
    expect(canonicalKey('agent:other:main', renamed).key).toBe('agent:other:home');
  });

  it('adds the owner’s agent to a bare key', () => {
    expect(canonicalKey('main', rules, 'Work')).toEqual({ key: 'agent:work:main', agentId: 'work' });
    expect(canonicalKey('agent:main:x', rules, 'work')).toEqual({ key: 'agent:main:x', agentId: 'main' });
  });

  it('does not change a key that is already canonical', () => {
    const random = createRandomSource(20261121, 0);
    const pieces: readonly [string, ...string[]] = [
      'agent',
      'Agent',
      ':',
      ':',
      ':',
      'main',
      'home',
      'global',
      'unknown',
      ' ',
      '-',
      '_',
      'A',
      'é',
      '\n',
      '💡',
      'subagent',
      'x'.repeat(63),
    ];
    for (let round = 0; round < 20_000; round += 1) {
      const raw = Array.from({ length: random.integer(0, 8) }, () => random.pick(pieces)).join('');
      const owner = random.chance(0.5) ? undefined : `owner-${random.integer(0, 2)}`;
      const used = random.chance(0.5) ? rules : renamed;
      const once = canonicalKey(raw, used, owner);
      expect(canonicalKey(once.key, used, owner), JSON.stringify(raw)).toEqual(once);
      const agentId = normalizeAgentId(raw);
      expect(normalizeAgentId(agentId), JSON.stringify(raw)).toBe(agentId);
      expect(agentId).toMatch(/^[a-z0-9_-]{1,64}$/);
    }
  });
});

describe('isWellFormedKey', () => {
  it.each(['main', 'a', ' agent:main:x ', 'agent::main:x', 'agent:a b:x', 'agents', 'x:', ':x', 'global'])('is true for %j', key => {
    expect(isWellFormedKey(key)).toBe(true);
  });

  it.each(['', 'agent:', 'agent:::', 'agent:main', 'agent:main:', 'agent::main', 'agent:main:::', ':', ' :: '])('is false for %j', key => {
    expect(isWellFormedKey(key)).toBe(false);
  });

  it('is true for the canonical form of each key for which it is true', () => {
    const random = createRandomSource(20261201, 0);
    const pieces: readonly [string, ...string[]] = ['agent', ':', ':', 'main', ' ', 'A', 'global'];
    for (let round = 0; round < 20_000; round += 1) {
      const raw = Array.from({ length: random.integer(0, 8) }, () => random.pick(pieces)).join('');
      if (isWellFormedKey(raw)) expect(isWellFormedKey(canonicalKey(raw, renamed, 'work').key), JSON.stringify(raw)).toBe(true);
    }
  });
});

describe('sessionKind', () => {
  it.each([
    [null, null, 'OTHER'],
    [null, 'group', 'OTHER'],
    ['global', 'group', 'GLOBAL'],
    ['unknown', null, 'UNKNOWN'],
    ['agent:main:Subagent:1', 'group', 'SUBAGENT'],
    ['agent:main:cron:job:run:1', null, 'CRON'],
    ['agent:main:hook:1', null, 'HOOK'],
    ['agent:main:node-1', null, 'NODE'],
    ['agent:main:node:1', null, 'NODE'],
    ['agent:main:telegram:group:-100', null, 'GROUP'],
    ['agent:main:discord:channel:5', 'direct', 'GROUP'],
    ['agent:main:main', 'channel', 'GROUP'],
    ['agent:main:main', 'direct', 'MAIN'],
    ['agent:other:main', null, 'MAIN'],
    ['agent:main:telegram:direct:7', null, 'DIRECT'],
    ['agent:main:tui-1', null, 'DIRECT'],
  ])('of key %j with chat type %j is %s', (key, chatType, kind) => {
    expect(sessionKind(key, chatType, rules)).toBe(kind);
  });
});

describe('isMainSessionKey', () => {
  it('is true only for the main key of the default agent', () => {
    expect(isMainSessionKey('agent:main:main', rules)).toBe(true);
    expect(isMainSessionKey('agent:other:main', rules)).toBe(false);
    expect(isMainSessionKey('agent:aria:home', renamed)).toBe(true);
    expect(isMainSessionKey(null, rules)).toBe(false);
  });
});
