import { describe, expect, it } from 'vitest';
import { isNestedDeeper, TextRepair } from '../../../src/import/text-repair.ts';

describe('TextRepair', () => {
  it('replaces and counts characters that cannot be stored, in texts, values and keys', () => {
    const repair = new TextRepair();
    expect(repair.parse('{"a\\u0000":["\\ud800x","\\ud83d\\ude00",1,null]}')).toEqual({ 'a\ufffd': ['\ufffdx', '😀', 1, null] });
    expect(repair.text('\0\udc00')).toBe('\ufffd\ufffd');
    expect(repair.replaced).toBe(4);
  });

  it('leaves other characters unchanged', () => {
    const repair = new TextRepair();
    expect(repair.parse('{"__proto__":{"x":"\\\\u0000"}}')).toEqual(JSON.parse('{"__proto__":{"x":"\\\\u0000"}}'));
    expect(repair.replaced).toBe(0);
  });
});

describe('isNestedDeeper', () => {
  it('counts the levels of objects and arrays', () => {
    expect(isNestedDeeper('x', 0)).toBe(false);
    expect(isNestedDeeper([{ a: 1 }], 2)).toBe(false);
    expect(isNestedDeeper([{ a: [] }], 2)).toBe(true);
  });
});
