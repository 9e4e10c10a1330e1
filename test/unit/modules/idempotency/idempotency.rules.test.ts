import { describe, expect, it } from 'vitest';
import { callHash } from '../../../../src/modules/idempotency/idempotency.rules.ts';

const hash = (input: object) => callHash('createSession', input);

describe('callHash', () => {
  it('ignores the order of keys at every level', () => {
    expect(hash({ a: 1, b: { c: [{ d: 1, e: 2 }], f: null } })).toBe(hash({ b: { f: null, c: [{ e: 2, d: 1 }] }, a: 1 }));
  });

  it('treats undefined as absent, and objects without a prototype as plain ones', () => {
    expect(hash({ a: 1, idempotencyKey: undefined })).toBe(hash({ a: 1 }));
    expect(hash(Object.assign(Object.create(null), { a: 1 }))).toBe(hash({ a: 1 }));
  });

  it.each([
    ['null', {}, { a: null }],
    ['the type', { a: 1 }, { a: '1' }],
    ['the order of a list', { a: [1, 2] }, { a: [2, 1] }],
    ['nesting', { a: { b: 1 } }, { a: 1, b: 1 }],
    ['an empty list', { a: [] }, { a: [[]] }],
    ['quotes in names', { 'a":1,"b': 1 }, { a: 1, b: 1 }],
    ['the key __proto__', JSON.parse('{"__proto__":1}'), {}],
    ['an instant', { a: new Date(0) }, { a: new Date(1) }],
  ])('differs for a change of %s', (_, one, other) => {
    expect(hash(one)).not.toBe(hash(other));
  });

  it('differs for another mutation field', () => {
    expect(callHash('appendMessage', { a: 1 })).not.toBe(callHash('appendMessages', { a: 1 }));
  });

  it('accepts input of any depth', () => {
    const deep = JSON.parse(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`);
    expect(hash(deep)).toMatch(/^[\w-]{43}$/);
  });
});
