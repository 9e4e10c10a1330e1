import { describe, expect, it } from 'vitest';
import { readApiKey } from '../../../../src/modules/api-key/api-key.input.ts';
import { createSecret, hashSecret, isSecret, matchesHash, prefixOf } from '../../../../src/modules/api-key/api-key.rules.ts';
import { assertScope, LOCAL_VIEWER, withIncludedScopes } from '../../../../src/modules/viewer/viewer.rules.ts';

describe('a secret', () => {
  it('is sg_ followed by 256 random bits, different each time', () => {
    const secrets = new Set(Array.from({ length: 1_000 }, createSecret));
    expect(secrets.size).toBe(1_000);
    for (const secret of secrets) {
      expect(isSecret(secret)).toBe(true);
      expect(Buffer.from(secret.slice(3), 'base64url')).toHaveLength(32);
    }
  });

  it('matches its own hash and no other', () => {
    const secret = createSecret();
    expect(matchesHash(secret, hashSecret(secret))).toBe(true);
    expect(matchesHash(`${prefixOf(secret)}${createSecret().slice(11)}`, hashSecret(secret))).toBe(false);
    expect(matchesHash(secret, hashSecret(secret).subarray(1))).toBe(false);
  });

  it.each(['', 'sg_', 'sg_short', `sg_${'a'.repeat(44)}`, `sk_${'a'.repeat(43)}`, `sg_${'a'.repeat(42)}=`])(
    'has another form than %j',
    text => {
      expect(isSecret(text)).toBe(false);
    },
  );

  it('reveals only 8 of its characters in its prefix', () => {
    expect(prefixOf(createSecret())).toMatch(/^sg_[\w-]{8}$/);
  });
});

describe('scopes', () => {
  it('include the lower scopes', () => {
    expect(withIncludedScopes([])).toEqual([]);
    expect(withIncludedScopes(['READ'])).toEqual(['READ']);
    expect(withIncludedScopes(['MANAGE'])).toEqual(['READ', 'WRITE', 'MANAGE']);
    expect(withIncludedScopes(['ADMIN', 'READ'])).toEqual(['READ', 'WRITE', 'MANAGE', 'ADMIN']);
  });

  it("that are missing cause FORBIDDEN with the required scope and the caller's scopes", () => {
    const viewer = { ...LOCAL_VIEWER, scopes: withIncludedScopes(['WRITE']) };
    expect(() => assertScope(viewer, 'WRITE', 'to write')).not.toThrow();
    expect(() => assertScope(viewer, 'ADMIN', 'to administer')).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN', details: { requiredScope: 'ADMIN', scopes: ['READ', 'WRITE'] } }),
    );
  });
});

describe('readApiKey', () => {
  const now = Date.UTC(2026, 0, 1);

  it('trims the name, orders the scopes and removes duplicates', () => {
    const input = { name: '  ci ', scopes: ['WRITE', 'READ', 'WRITE'] as const, agentIds: ['Main', 'main', 'b'] };
    expect(readApiKey(input, now)).toEqual({
      name: 'ci',
      scopes: ['READ', 'WRITE'],
      agentIds: ['main', 'b'],
      expiresAt: null,
      rateLimits: { requests: null, writes: null, creations: null, management: null },
    });
  });

  it.each([
    ['input.name', { name: ' ' }],
    ['input.name', { name: 'x'.repeat(201) }],
    ['input.name', { name: 'a\0b' }],
    ['input.scopes', { scopes: [] }],
    ['input.agentIds', { agentIds: [] }],
    ['input.agentIds', { agentIds: Array.from({ length: 1_001 }, (_, index) => `a${index}`) }],
    ['input.agentIds.1', { agentIds: ['a', ' '] }],
    ['input.expiresAt', { expiresAt: new Date(now) }],
  ])('rejects an invalid %s', (field, change) => {
    expect(() => readApiKey({ name: 'ci', scopes: ['READ'], ...change }, now)).toThrow(
      expect.objectContaining({ code: 'BAD_USER_INPUT', details: expect.objectContaining({ field }) }),
    );
  });
});
