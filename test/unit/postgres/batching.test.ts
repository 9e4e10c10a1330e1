import { describe, expect, it } from 'vitest';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { byKey, LoaderSet, pagesByParent } from '../../../src/postgres/batching.ts';
import type { Ordering, PageWindow } from '../../../src/postgres/keyset.ts';

const WINDOW: PageWindow = { limit: 2, inverted: false, after: null, before: null };
const BY_ID: Ordering = { terms: [{ expression: Prisma.raw('id'), type: 'integer', descending: false }], fingerprint: 'test' };

describe('pagesByParent', () => {
  it('returns one page per parent, empty for a parent without rows', () => {
    const read = ['a', 'b', 'a'].map((listParent, index) => ({ listParent, id: index, cursor: JSON.stringify([`${index}`]) }));
    const pages = pagesByParent(['b', 'a', 'c'], read, WINDOW, BY_ID);
    expect(pages.map(page => page.rows.map(row => row.id))).toEqual([[1], [0, 2], []]);
  });
});

describe('byKey', () => {
  it('returns one row or null per key, in the order of the keys', () => {
    expect(byKey(['b', 'x', 'a', 'b'], [{ id: 'a' }, { id: 'b' }], row => row.id)).toEqual([{ id: 'b' }, null, { id: 'a' }, { id: 'b' }]);
  });
});

describe('LoaderSet', () => {
  it('loads all keys of a variant in one batch, without duplicates', async () => {
    const calls: string[][] = [];
    const loaders = new LoaderSet<string, string>();
    const load = (variant: string, key: string) =>
      loaders
        .of(variant, async keys => {
          calls.push([variant, ...keys]);
          return keys.map(loaded => loaded.toUpperCase());
        })
        .load(key);
    expect(await Promise.all([load('x', 'a'), load('y', 'a'), load('x', 'b'), load('x', 'a')])).toEqual(['A', 'A', 'B', 'A']);
    expect(calls).toEqual([
      ['x', 'a', 'b'],
      ['y', 'a'],
    ]);
  });
});
