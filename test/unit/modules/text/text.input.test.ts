import { describe, expect, it } from 'vitest';
import {
  assertMetadataSize,
  assertStorable,
  isJsonObject,
  readMetadata,
  readName,
  readText,
} from '../../../../src/modules/text/text.input.ts';

const errorFor = (field: string) => expect.objectContaining({ code: 'BAD_USER_INPUT', details: expect.objectContaining({ field }) });

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = level % 2 === 0 ? { a: value } : [value];
  return value;
}

describe('assertStorable', () => {
  it.each([null, undefined, '', 'text 💡 \u0001', 0, -1.5e-300, true, new Date(), { a: [{ b: 'ü' }] }, nested(100)])(
    'accepts %j',
    value => {
      expect(() => assertStorable(value, 'f')).not.toThrow();
    },
  );

  it.each([
    ['a text', 'a\0', 'f'],
    ['a text in a list', ['a', ['\0']], 'f.1.0'],
    ['a text in an object', { a: { b: 'x\ud800' } }, 'f.a.b'],
    ['a key', { a: { '\udc00': 1 } }, 'f.a'],
    ['a key that is NUL', { '\0': 1 }, 'f'],
    ['surrogates in the wrong order', '\udca1\ud83d', 'f'],
    ['a number that is not finite', { a: Number.POSITIVE_INFINITY }, 'f.a'],
  ])('rejects %s', (_what, value, field) => {
    expect(() => assertStorable(value, 'f')).toThrow(errorFor(field));
  });

  it('rejects a value nested deeper than 100 levels', () => {
    expect(() => assertStorable(nested(102), 'f')).toThrow(/nested deeper than 100/);
  });
});

describe('readName', () => {
  it('trims the name and rejects blank and long names', () => {
    expect(readName(' 💡💡 ', 'f', 2)).toBe('💡💡');
    expect(() => readName(' \t', 'f', 2)).toThrow(errorFor('f'));
    expect(() => readName('💡💡💡', 'f', 2)).toThrow(errorFor('f'));
  });
});

describe('readText', () => {
  it('keeps white space and limits the number of code points', () => {
    expect(readText(' a ', 'f', 3)).toBe(' a ');
    expect(readText('💡💡💡', 'f', 3)).toBe('💡💡💡');
    expect(() => readText('abcd', 'f', 3)).toThrow(expect.objectContaining({ details: { field: 'f', maxLength: 3 } }));
  });
});

describe('isJsonObject', () => {
  it('is true only for plain objects', () => {
    expect([{}, Object.create(null), [], null, undefined, 'a', 1, new Date()].map(isJsonObject)).toEqual([
      true,
      true,
      ...Array(6).fill(false),
    ]);
  });
});

describe('readMetadata', () => {
  it('returns the object, or an empty one if it is absent, and rejects other values', () => {
    expect([readMetadata(null, 'f'), readMetadata(undefined, 'f'), readMetadata({ a: null }, 'f')]).toEqual([{}, {}, { a: null }]);
    for (const other of [[], 'a', 0, false]) expect(() => readMetadata(other, 'f')).toThrow(errorFor('f'));
  });

  it('limits the size in bytes', () => {
    const fits = { a: 'é'.repeat((65_536 - 8) / 2) };
    expect(readMetadata(fits, 'f')).toBe(fits);
    expect(() => readMetadata({ a: `${fits.a}x` }, 'f')).toThrow(expect.objectContaining({ details: { field: 'f', bytes: 65_537 } }));
    expect(() => assertMetadataSize(65_536, 'f')).not.toThrow();
  });
});
