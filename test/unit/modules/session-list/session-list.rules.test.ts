import { describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../../scripts/seed/random-source.ts';
import { sessionGlobalId } from '../../../../src/global-id.ts';
import type { SessionFilter } from '../../../../src/modules/session-filter/session-filter.rules.ts';
import { activityWindows, type ListEntry, listChanges, scopeOf } from '../../../../src/modules/session-list/session-list.rules.ts';

/** Parses a list: `a1` is the session a with the stamp 1. */
function entries(text: string): readonly ListEntry[] {
  return text === '' ? [] : text.split(' ').map(entry => ({ id: entry.charAt(0), stamp: entry.slice(1) }));
}

function steps(before: string, after: string): readonly string[] {
  return listChanges(entries(before), entries(after)).map(({ type, id, fromIndex, toIndex }) => `${type} ${id} ${fromIndex}>${toIndex}`);
}

function apply(before: readonly ListEntry[], after: readonly ListEntry[]): readonly string[] {
  const list = before.map(({ id }) => id);
  const longest = Math.max(before.length, after.length);
  for (const { type, id, fromIndex, toIndex } of listChanges(before, after)) {
    if (fromIndex !== null) expect(list.splice(fromIndex, 1)).toEqual([id]);
    else expect(type).toBe('ADDED');
    if (toIndex !== null) {
      expect(toIndex).toBeLessThanOrEqual(list.length);
      list.splice(toIndex, 0, id);
    } else expect(type).toBe('REMOVED');
    expect(list.length).toBeLessThanOrEqual(longest);
  }
  return list;
}

describe('listChanges', () => {
  it.each([
    ['', '', []],
    ['a1 b1', 'a1 b1', []],
    ['', 'a1 b1', ['ADDED a null>0', 'ADDED b null>1']],
    ['a1 b1', '', ['REMOVED b 1>null', 'REMOVED a 0>null']],
    ['a1 b1 c1', 'c2 a1 b1', ['UPDATED c 2>0']],
    ['a1 b1 c1', 'b1 c1 a2', ['UPDATED a 0>2']],
    ['a1 b1', 'b1 a2', ['UPDATED a 0>1']],
    ['a1 b1', 'b2 a1', ['UPDATED b 1>0']],
    ['a1 b1 c1', 'a1 b2 c1', ['UPDATED b 1>1']],
    ['a1 b1 c1', 'd1 a1 b1', ['REMOVED c 2>null', 'ADDED d null>0']],
    ['a1 b1 c1', 'a1 c2 d1', ['REMOVED b 1>null', 'UPDATED c 1>1', 'ADDED d null>2']],
    ['a1 b1 c1 d1', 'd2 b1 a2 c1', ['UPDATED d 3>0', 'UPDATED a 1>2']],
  ])('returns the steps from %j to %j', (before, after, expected) => {
    expect(steps(before, after)).toEqual(expected);
  });

  it('moves changed rows rather than unchanged ones', () => {
    expect(steps('a1 b1 c1 d1 e1', 'e2 d2 c2 a1 b1')).toEqual(['UPDATED e 4>0', 'UPDATED d 4>1', 'UPDATED c 4>2']);
  });

  it('leads from any list to any other, with one step per new, removed or changed row', () => {
    const random = createRandomSource(7, 1);
    const draw = (): readonly ListEntry[] =>
      [...'abcdefghij']
        .filter(() => random.chance(0.7))
        .map(id => ({ id, stamp: String(random.integer(1, 2)), place: random.fraction() }))
        .toSorted((a, b) => a.place - b.place);
    for (let round = 0; round < 2_000; round += 1) {
      const before = draw();
      const after = draw();
      expect(apply(before, after)).toEqual(after.map(({ id }) => id));
      const ids = listChanges(before, after).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      const changed = after.filter(({ id, stamp }) => before.find(entry => entry.id === id)?.stamp !== stamp);
      expect(ids).toEqual(expect.arrayContaining(changed.map(({ id }) => id)));
    }
  });

  it('updates only changed rows if unchanged rows keep their order, as in a session list', () => {
    const random = createRandomSource(8, 1);
    for (let round = 0; round < 2_000; round += 1) {
      const before = [...'abcdefghij'].filter(() => random.chance(0.8)).map((id, place) => ({ id, stamp: '1', place }));
      const after = before
        .filter(() => random.chance(0.8))
        .map(entry => (random.chance(0.3) ? { ...entry, stamp: '2', place: random.fraction() * 10 } : entry))
        .toSorted((a, b) => a.place - b.place);
      expect(apply(before, after)).toEqual(after.map(({ id }) => id));
      const updated = listChanges(before, after).filter(({ type }) => type === 'UPDATED');
      expect(updated.map(({ id }) => id)).toEqual(after.filter(({ stamp }) => stamp === '2').map(({ id }) => id));
    }
  });
});

describe('activityWindows', () => {
  it('returns each time span of a filter once, at any depth', () => {
    expect(activityWindows(null)).toEqual([]);
    expect(activityWindows({ root: true })).toEqual([]);
    const nested = { activeWithinMinutes: 5, not: { or: [{ activeWithinMinutes: 60 }, { and: [{ activeWithinMinutes: 5 }] }] } };
    expect(activityWindows(nested).toSorted()).toEqual([5, 60]);
  });
});

describe('scopeOf', () => {
  const agentsOf = (filter: SessionFilter | null, visible: readonly string[] | null = null) => scopeOf(filter, visible).agents;

  it('names agents only if sessions of no other agent can match', () => {
    expect(agentsOf(null)).toBeNull();
    expect(agentsOf({ agentId: { notIn: ['a'] } })).toBeNull();
    expect(agentsOf({ or: [{ agentId: { eq: 'a' } }] })).toBeNull();
    expect(agentsOf({ agentId: { eq: 'a' } })).toEqual(new Set(['a']));
    expect(agentsOf({ agentId: { in: ['a', 'b'] } })).toEqual(new Set(['a', 'b']));
    expect(agentsOf({ agentId: { in: [] } })).toEqual(new Set());
  });

  it('leaves out agents that the viewer may not see', () => {
    expect(agentsOf(null, ['a'])).toEqual(new Set(['a']));
    expect(agentsOf({ agentId: { in: ['a', 'b'] } }, ['b', 'c'])).toEqual(new Set(['b']));
  });

  it('names sessions only if no other session can match', () => {
    const id = '0198c1d2-0000-7000-8000-00000000000a';
    expect(scopeOf({ id: { notIn: [id] } }, null).sessions).toBeNull();
    expect(scopeOf({ id: { eq: id.toUpperCase() } }, null).sessions).toEqual(new Set([id]));
    expect(scopeOf({ id: { in: [sessionGlobalId(id), 'malformed'] } }, null).sessions).toEqual(new Set([id]));
  });
});
