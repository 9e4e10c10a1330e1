import { describe, expect, it } from 'vitest';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { byKey, LoaderSet, MadeForArguments, pagesByParent } from '../../../src/postgres/batching.ts';
import type { Ordering, PageWindow } from '../../../src/postgres/keyset.ts';

const WINDOW: PageWindow = { limit: 2, inverted: false, after: null, before: null };
const BY_ID: Ordering = { terms: [{ expression: Prisma.raw('id'), type: 'integer', descending: false }], fingerprint: 'test' };

describe('pagesByParent', () => {
  it('returns one page per parent, empty for a parent without rows', () => {
    const read = [2, 1, 2].map((listParent, index) => ({ listParent, id: index, cursor: JSON.stringify([`${index}`]) }));
    const pages = pagesByParent(['b', 'a', 'c'], read, WINDOW, BY_ID);
    expect(pages.map(page => page.rows.map(row => row.id))).toEqual([[1], [0, 2], []]);
  });
});

describe('MadeForArguments', () => {
  it('makes a value once for consecutive calls with the same arguments object', () => {
    const made = new MadeForArguments<number>();
    const [first, second] = [{}, {}];
    expect([made.of(first, () => 1), made.of(first, () => 2), made.of(second, () => 3), made.of(first, () => 4)]).toEqual([1, 1, 3, 4]);
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
