import { describe, expect, it } from 'vitest';
import { canonicalJson, decideField, hashValue } from '../../../../src/import/writer/field-merge.ts';

describe('canonicalJson', () => {
  it('is the same whatever the order of keys, and differs with the order of lists', () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: 1 })).toBe(canonicalJson({ a: 1, b: [{ c: 2, d: 1 }] }));
    expect(hashValue([1, 2])).not.toBe(hashValue([2, 1]));
    expect(hashValue(undefined)).toBe(hashValue(null));
  });
});

describe('decideField', () => {
  const old = hashValue('old');

  it.each([
    ['nothing changed', old, 'old', 'old', 'unchanged'],
    ['changed at the source', old, 'old', 'new', 'apply'],
    ['emptied at the source', old, 'old', null, 'apply'],
    ['edited here', old, 'mine', 'old', 'unchanged'],
    ['changed at both', old, 'mine', 'new', 'keep edit'],
    ['changed at both alike', old, 'new', 'new', 'unchanged'],
    ['emptied here', old, null, 'new', 'keep edit'],
    ['new at the source', undefined, null, 'new', 'apply'],
    ['new at the source and set here', undefined, 'mine', 'new', 'keep edit'],
  ])('%s', (_name, recorded, stored, source, decision) => {
    expect(decideField(recorded, stored, source)).toBe(decision);
  });
});
