import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../../src/import/canonical-json.ts';
import { decideField, hashValue } from '../../../../src/import/writer/field-merge.ts';

describe('canonicalJson', () => {
  it('ignores the order of keys and keeps the order of lists', () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: 1 })).toBe(canonicalJson({ a: 1, b: [{ c: 2, d: 1 }] }));
    expect(hashValue([1, 2])).not.toBe(hashValue([2, 1]));
    expect(hashValue(undefined)).toBe(hashValue(null));
  });
});

describe('decideField', () => {
  const old = hashValue('old');

  it.each([
    ['no change', old, 'old', 'old', 'unchanged'],
    ['a change at the source', old, 'old', 'new', 'apply'],
    ['a value removed at the source', old, 'old', null, 'apply'],
    ['an edit in Sessiongraph', old, 'mine', 'old', 'unchanged'],
    ['different changes on both sides', old, 'mine', 'new', 'keep edit'],
    ['the same change on both sides', old, 'new', 'new', 'unchanged'],
    ['a value removed in Sessiongraph', old, null, 'new', 'keep edit'],
    ['a new value at the source', undefined, null, 'new', 'apply'],
    ['a new value at the source and a value set in Sessiongraph', undefined, 'mine', 'new', 'keep edit'],
  ])('decides about %s', (_name, recorded, stored, source, decision) => {
    expect(decideField(recorded, stored, source)).toBe(decision);
  });
});
