import { describe, expect, it } from 'vitest';
import { EntryTree } from '../../../../src/import/writer/entry-tree.ts';

/** Adds entries, given as [id, parent id, is a message]. Returns the parent position and the problem of each. */
function addEntries(tree: EntryTree, entries: readonly (readonly [string | null, string | null | undefined, boolean])[]) {
  let position = 0;
  return entries.map(([id, parent, isMessage], index) => {
    const place = tree.place(index + 1, id, parent);
    tree.add(index + 1, place, isMessage ? position + 1 : null, position);
    if (isMessage) position++;
    return [place.parentPosition, place.problem];
  });
}

describe('EntryTree', () => {
  it('makes the nearest ancestor that is a message the parent of a message', () => {
    const tree = new EntryTree();
    expect(
      addEntries(tree, [
        ['a', null, true],
        ['b', 'a', false],
        ['c', 'b', false],
        ['d', 'c', true],
        ['e', 'b', true],
      ]),
    ).toEqual([
      [null, null],
      [1, null],
      [1, null],
      [1, null],
      [1, null],
    ]);
    expect(tree.leaf).toBe(3);
    expect(tree.positionBefore({ entryId: 'd' })).toBe(1);
    expect(tree.positionBefore({ entryIndex: 4 })).toBe(2);
    expect(tree.positionBefore({ entryId: 'gone' })).toBeNull();
  });

  it('chains entries that name no parent, and makes entries with a missing parent roots', () => {
    const tree = new EntryTree();
    expect(
      addEntries(tree, [
        [null, undefined, true],
        [null, undefined, true],
        ['x', 'gone', true],
        ['x', undefined, true],
      ]),
    ).toEqual([
      [null, null],
      [1, null],
      [null, 'missing parent'],
      [3, 'duplicate entry id'],
    ]);
    expect(tree.has('line:4')).toBe(true);
    expect(tree.numberOf('x')).toBe(3);
  });

  it('continues from a revisited entry, also under its new id', () => {
    const tree = new EntryTree();
    addEntries(tree, [
      ['a', null, true],
      ['b', 'a', true],
    ]);
    tree.revisit('a', 'new-a');
    expect(tree.leaf).toBe(1);
    expect(tree.place(3, 'c', 'new-a').parentPosition).toBe(1);
    expect(tree.place(3, 'c', undefined).parentPosition).toBe(1);
  });
});
