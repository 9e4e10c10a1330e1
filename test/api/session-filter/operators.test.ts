import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import type { FilterInput } from './reference-filter.ts';
import { type StoredSession, storedSession, storeSessions } from './stored-session.ts';

const SESSIONS = 'query($filter: SessionFilter) { sessions(first: 100, filter: $filter) { totalCount nodes { title } } }';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

/** Stores sessions under their own agent. Returns a function that filters these sessions and returns the sorted titles. */
async function storeForAgent(agentId: string, sessions: readonly (Partial<StoredSession> & { readonly title: string })[]) {
  await storeSessions(
    app.databaseUrl,
    sessions.map(session => storedSession({ agentId, ...session })),
  );
  return async (filter: FilterInput): Promise<string[]> => {
    const answer = await app.gql<{ sessions: { totalCount: number; nodes: { title: string }[] } }>(SESSIONS, {
      filter: { ...filter, and: [...(filter.and ?? []), { agentId: { eq: agentId } }] },
    });
    const { sessions: list } = answer.expectOk();
    expect(list.totalCount).toBe(list.nodes.length);
    return list.nodes.map(node => node.title).toSorted();
  };
}

const rejectedFilter = async (filter: unknown) => (await app.gql(SESSIONS, { filter })).expectError('BAD_USER_INPUT');

describe('text operators', () => {
  it('match an unset field only with notIn, not and isNull', async () => {
    const find = await storeForAgent('nulls', [
      { title: 'a', category: 'x' },
      { title: 'b', category: 'y' },
      { title: 'c', category: null },
    ]);
    expect(await find({ category: { eq: 'x' } })).toEqual(['a']);
    expect(await find({ category: { in: ['x', 'y'] } })).toEqual(['a', 'b']);
    expect(await find({ category: { in: [] } })).toEqual([]);
    expect(await find({ category: { notIn: ['x'] } })).toEqual(['b', 'c']);
    expect(await find({ category: { notIn: [] } })).toEqual(['a', 'b', 'c']);
    expect(await find({ not: { category: { eq: 'x' } } })).toEqual(['b', 'c']);
    expect(await find({ not: { category: { notIn: ['x'] } } })).toEqual(['a']);
    expect(await find({ not: { category: { contains: 'x' } } })).toEqual(['b', 'c']);
    expect(await find({ not: { not: { category: { startsWith: 'x' } } } })).toEqual(['a']);
    expect(await find({ category: { isNull: true } })).toEqual(['c']);
    expect(await find({ category: { isNull: false } })).toEqual(['a', 'b']);
    expect(await find({ category: { contains: '' } })).toEqual(['a', 'b']);
  });

  it('must all match, and are ignored when they are null', async () => {
    const find = await storeForAgent('joined', [
      { title: 'a', category: 'one two' },
      { title: 'b', category: 'one' },
    ]);
    expect(await find({ category: { startsWith: 'one', contains: 'TWO', isNull: false } })).toEqual(['a']);
    expect(await find({ category: { eq: null, in: null, notIn: ['one'], contains: null, startsWith: null, isNull: null } })).toEqual(['a']);
    expect(await find({ category: null, status: null, tags: null, not: null, or: null, trashed: null })).toEqual(['a', 'b']);
  });

  it('match %, _ and \\ literally', async () => {
    const find = await storeForAgent('literal', [
      { title: '100%' },
      { title: '100 percent' },
      { title: 'a_b' },
      { title: 'axb' },
      { title: 'a\\b' },
    ]);
    expect(await find({ title: { contains: '%' } })).toEqual(['100%']);
    expect(await find({ title: { contains: '_' } })).toEqual(['a_b']);
    expect(await find({ title: { contains: '\\' } })).toEqual(['a\\b']);
    expect(await find({ title: { contains: 'A\\B' } })).toEqual(['a\\b']);
    expect(await find({ search: 'a_b' })).toEqual(['a_b']);
    expect(await find({ search: '0%' })).toEqual(['100%']);
    expect(await find({ title: { startsWith: '100%' } })).toEqual(['100%']);
    expect(await find({ title: { startsWith: 'a_' } })).toEqual(['a_b']);
  });

  it.each([
    ['ПРИВЕТ, мир', 'привет', true],
    ['привет', 'ПРИВ', true],
    ['Straße', 'STRAßE', true],
    ['STRAẞE', 'straße', true],
    ['Straße', 'strasse', false],
    ['İstanbul', 'İSTANBUL', true],
    ['İstanbul', 'i', true],
    ['istanbul', 'İ', false],
    ['ΟΔΟΣ', 'οδος', true],
    ['Éclair', 'éCLAIR', true],
    ['Éclair', 'eclair', false],
    ['ԲԱՐԵՎ', 'բարև', false],
    ['ԲԱՐԵՎ', 'բարեվ', true],
    ['日本語', '本', true],
    ['😀 smile', '😀 SMILE', true],
  ])('ignore case in every script in contains and search: %j contains %j is %j', async (title, contains, found) => {
    const agentId = `case-${Buffer.from(`${title} ${contains}`).toString('hex').slice(0, 40)}`;
    const find = await storeForAgent(agentId, [{ title }]);
    expect(await find({ title: { contains } })).toEqual(found ? [title] : []);
    expect(await find({ search: contains })).toEqual(found ? [title] : []);
  });

  it('compare exactly, including case, in eq, in, notIn and startsWith', async () => {
    const find = await storeForAgent('exact', [{ title: 'Word' }, { title: 'word' }, { title: 'e\u0301' }, { title: '\u00e9' }]);
    expect(await find({ title: { eq: 'word' } })).toEqual(['word']);
    expect(await find({ title: { in: ['Word', 'WORD'] } })).toEqual(['Word']);
    expect(await find({ title: { startsWith: 'W' } })).toEqual(['Word']);
    expect(await find({ title: { eq: '\u00e9' } })).toEqual(['\u00e9']);
    expect(await find({ title: { notIn: ['\u00e9', 'word', 'Word'] } })).toEqual(['e\u0301']);
  });
});

describe('and, or, not', () => {
  it('match all, any or none of their filters; an empty and matches everything, an empty or nothing', async () => {
    const find = await storeForAgent('logic', [
      { title: 'a', status: 'ACTIVE', type: 'chat' },
      { title: 'b', status: 'ENDED', type: 'chat' },
      { title: 'c', status: 'ENDED', type: 'cron' },
    ]);
    expect(await find({ and: [] })).toEqual(['a', 'b', 'c']);
    expect(await find({ or: [] })).toEqual([]);
    expect(await find({ not: { or: [] } })).toEqual(['a', 'b', 'c']);
    expect(await find({ not: { and: [] } })).toEqual([]);
    expect(await find({ not: {} })).toEqual([]);
    expect(await find({ or: [{}] })).toEqual(['a', 'b', 'c']);
    expect(await find({ or: [{ status: { eq: 'ACTIVE' } }, { type: { eq: 'cron' } }] })).toEqual(['a', 'c']);
    expect(await find({ and: [{ status: { eq: 'ENDED' } }, { type: { eq: 'cron' } }] })).toEqual(['c']);
    expect(await find({ not: { or: [{ status: { eq: 'ACTIVE' } }, { and: [{ type: { eq: 'cron' } }, { not: { or: [] } }] }] } })).toEqual([
      'b',
    ]);
  });

  it('return BAD_USER_INPUT beyond ten levels or two hundred filters', async () => {
    const nest = (levels: number): FilterInput => (levels === 1 ? {} : { not: nest(levels - 1) });
    (await app.gql(SESSIONS, { filter: nest(10) })).expectOk();
    expect((await rejectedFilter(nest(11))).extensions.details.field).toMatch(/^filter\.not/);
    (await app.gql(SESSIONS, { filter: { or: Array.from({ length: 199 }, () => ({})) } })).expectOk();
    await rejectedFilter({ or: Array.from({ length: 200 }, () => ({})) });
  });
});

describe('the filters id, parentId and root', () => {
  it('accept global ids and bare UUIDs in either case; malformed ids and ids of other types match nothing', async () => {
    const [a, b] = ['0197a000-0000-7000-8000-00000000000a', '0197a000-0000-7000-8000-00000000000b'];
    const find = await storeForAgent('ids', [
      { title: 'a', id: a },
      { title: 'b', id: b, parentId: a },
    ]);
    const global = (type: string, id: string) => Buffer.from(`${type}:${id}`).toString('base64');
    expect(await find({ id: { eq: a } })).toEqual(['a']);
    expect(await find({ id: { eq: a.toUpperCase() } })).toEqual(['a']);
    expect(await find({ id: { in: [global('Session', a), b, 'nonsense', ''] } })).toEqual(['a', 'b']);
    for (const id of ['nonsense', '', global('Message', `${a}:${b}`), global('Agent', a), global('Session', 'x'), `${a} `, "';--"]) {
      expect(await find({ id: { eq: id } })).toEqual([]);
      expect(await find({ id: { in: [id] } })).toEqual([]);
      expect(await find({ id: { notIn: [id] } })).toEqual(['a', 'b']);
      expect(await find({ not: { id: { eq: id } } })).toEqual(['a', 'b']);
      expect(await find({ parentId: id })).toEqual([]);
      expect(await find({ not: { parentId: id } })).toEqual(['a', 'b']);
    }
    expect(await find({ id: { notIn: [a] } })).toEqual(['b']);
    expect(await find({ parentId: a })).toEqual(['b']);
    expect(await find({ parentId: global('Session', a) })).toEqual(['b']);
    expect(await find({ not: { parentId: a } })).toEqual(['a']);
    expect(await find({ root: true })).toEqual(['a']);
    expect(await find({ root: false })).toEqual(['b']);
  });
});

describe('enum, tag, time and flag filters', () => {
  it('match status, kind and priority', async () => {
    const find = await storeForAgent('enums', [
      { title: 'a', status: 'ACTIVE', kind: 'MAIN', priority: 'LOW' },
      { title: 'b', status: 'FAILED', kind: 'CRON', priority: 'CRITICAL' },
    ]);
    expect(await find({ status: { eq: 'FAILED' } })).toEqual(['b']);
    expect(await find({ kind: { in: ['MAIN', 'GROUP'] } })).toEqual(['a']);
    expect(await find({ priority: { notIn: ['LOW'] } })).toEqual(['b']);
    expect(await find({ status: { in: [] } })).toEqual([]);
    expect(await find({ status: { notIn: [] } })).toEqual(['a', 'b']);
    await app.gql(SESSIONS, { filter: { status: { eq: 'GONE' } } }).then(answer => answer.expectError('BAD_USER_INPUT'));
  });

  it('match sessions with all of the tags, including case; an empty list matches everything', async () => {
    const find = await storeForAgent('tags', [
      { title: 'a', tags: ['red', 'green'] },
      { title: 'b', tags: ['red'] },
      { title: 'c', tags: [] },
    ]);
    expect(await find({ tags: ['red'] })).toEqual(['a', 'b']);
    expect(await find({ tags: ['green', 'red', 'red'] })).toEqual(['a']);
    expect(await find({ tags: ['Red'] })).toEqual([]);
    expect(await find({ tags: [] })).toEqual(['a', 'b', 'c']);
    expect(await find({ not: { tags: ['green'] } })).toEqual(['b', 'c']);
  });

  it('match times from inclusive to before exclusive; an unset time matches no bound', async () => {
    const [one, two] = ['2026-01-01T00:00:00.001Z', '2026-01-01T00:00:00.002Z'];
    const find = await storeForAgent('spans', [
      { title: 'a', createdAt: new Date(one), endedAt: new Date(one) },
      { title: 'b', createdAt: new Date(two) },
    ]);
    expect(await find({ createdAt: { from: one, before: two } })).toEqual(['a']);
    expect(await find({ createdAt: { from: two } })).toEqual(['b']);
    expect(await find({ createdAt: { from: '2026-01-01T01:00:00.002+01:00' } })).toEqual(['b']);
    expect(await find({ createdAt: { from: two, before: one } })).toEqual([]);
    expect(await find({ endedAt: { before: '9999-12-31T23:59:59.999Z' } })).toEqual(['a']);
    expect(await find({ not: { endedAt: { from: '0001-01-01T00:00:00Z' } } })).toEqual(['b']);
    expect(await find({ endedAt: {} })).toEqual(['a', 'b']);
  });

  it('match archived, pinned and empty', async () => {
    const at = new Date();
    const find = await storeForAgent('flags', [
      { title: 'a', archivedAt: at, messages: ['hello'] },
      { title: 'b', pinnedAt: at },
    ]);
    expect(await find({ archived: true })).toEqual(['a']);
    expect(await find({ archived: false })).toEqual(['b']);
    expect(await find({ pinned: true })).toEqual(['b']);
    expect(await find({ empty: true })).toEqual(['b']);
    expect(await find({ empty: false })).toEqual(['a']);
  });

  it('match activeWithinMinutes from 1 minute to ten years and reject other values', async () => {
    const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    const find = await storeForAgent('recent', [
      { title: 'a', lastActivityAt: ago(2) },
      { title: 'b', lastActivityAt: ago(30) },
      { title: 'c', lastActivityAt: ago(2_000_000) },
    ]);
    expect(await find({ activeWithinMinutes: 1 })).toEqual([]);
    expect(await find({ activeWithinMinutes: 10 })).toEqual(['a']);
    expect(await find({ activeWithinMinutes: 60 })).toEqual(['a', 'b']);
    expect(await find({ activeWithinMinutes: 5_256_000 })).toEqual(['a', 'b', 'c']);
    for (const minutes of [0, -1, 5_256_001, 2_147_483_647]) await rejectedFilter({ activeWithinMinutes: minutes });
  });
});

describe('the metadata filter', () => {
  it('matches metadata that contains the object at any depth', async () => {
    const find = await storeForAgent('metadata', [
      { title: 'a', metadata: { n: 1, deep: { list: [1, { x: 'y' }], on: true } } },
      { title: 'b', metadata: { n: '1', none: null } },
      { title: 'c', metadata: {} },
    ]);
    expect(await find({ metadata: {} })).toEqual(['a', 'b', 'c']);
    expect(await find({ metadata: { n: 1 } })).toEqual(['a']);
    expect(await find({ metadata: { n: '1' } })).toEqual(['b']);
    expect(await find({ metadata: { none: null } })).toEqual(['b']);
    expect(await find({ metadata: { deep: { list: [{ x: 'y' }] } } })).toEqual(['a']);
    expect(await find({ metadata: { deep: { list: [{ x: 'z' }] } } })).toEqual([]);
    expect(await find({ not: { metadata: { n: 1 } } })).toEqual(['b', 'c']);
  });

  it('must be an object', async () => {
    for (const metadata of [[], 'text', 1, true]) {
      expect((await rejectedFilter({ or: [{}, { metadata }] })).extensions.details.field).toBe('filter.or.1.metadata');
    }
  });
});

describe('the search filter', () => {
  it('matches title, label, displayName, subject, key, agentId, task and messages, ignoring case', async () => {
    const find = await storeForAgent('needle-agent', [
      { title: 'One Needle' },
      { title: 'b', label: 'needle b' },
      { title: 'c', displayName: 'NEEDLE' },
      { title: 'd', subject: 'a needle' },
      { title: 'e', key: 'agent:needle-agent:needle:e' },
      { title: 'f', task: 'needle!' },
      { title: 'g', messages: ['hay', 'hay NEEdle hay'] },
      { title: 'h', category: 'needle', model: 'needle', metadata: { needle: 'needle' } },
    ]);
    expect(await find({ search: 'needle-agent' })).toHaveLength(8);
    expect(await find({ search: 'EDLE', agentId: { notIn: [] } })).toHaveLength(8);
    expect(await find({ search: 'hay nee' })).toEqual(['g']);
    expect(await find({ search: 'ne needle' })).toEqual(['One Needle']);
    expect(await find({ search: '' })).toHaveLength(8);
    expect(await find({ search: 'zzz' })).toEqual([]);
    expect(await find({ not: { search: 'hay' } })).toHaveLength(7);
    expect(await find({ or: [{ search: 'hay' }, { search: 'needle!' }] })).toEqual(['f', 'g']);
  });
});

describe('trashed and superseded sessions', () => {
  it('are excluded unless the top-level filter sets trashed or superseded; nested filters do not include them', async () => {
    const at = new Date();
    const find = await storeForAgent('fates', [
      { title: 'kept' },
      { title: 'trashed', deletedAt: at },
      { title: 'superseded', supersededAt: at },
      { title: 'both', deletedAt: at, supersededAt: at },
      { title: 'archived', archivedAt: at },
      { title: 'cron', kind: 'CRON', type: 'cron' },
    ]);
    const listed = ['archived', 'cron', 'kept'];
    expect(await find({})).toEqual(listed);
    expect(await find({ trashed: false })).toEqual(listed);
    expect(await find({ superseded: false, trashed: false })).toEqual(listed);
    expect(await find({ trashed: null })).toEqual(listed);
    expect(await find({ trashed: true })).toEqual(['trashed']);
    expect(await find({ superseded: true })).toEqual(['superseded']);
    expect(await find({ trashed: true, superseded: true })).toEqual(['both']);
    expect(await find({ trashed: true, superseded: false })).toEqual(['trashed']);
    expect(await find({ and: [{ trashed: true }] })).toEqual([]);
    expect(await find({ or: [{ trashed: true }, { title: { eq: 'kept' } }] })).toEqual(['kept']);
    expect(await find({ not: { trashed: true } })).toEqual(listed);
    expect(await find({ trashed: true, not: { superseded: true } })).toEqual(['trashed']);
  });
});

describe('filter values that are too large', () => {
  it('return BAD_USER_INPUT: a search of more than 1,000 characters, metadata of more than 64 KiB', async () => {
    expect((await rejectedFilter({ search: 'x'.repeat(1_001) })).extensions.details.field).toBe('filter.search');
    expect((await rejectedFilter({ or: [{ metadata: { text: 'x'.repeat(65_536) } }] })).extensions.details.field).toBe(
      'filter.or.0.metadata',
    );
    (await app.gql(SESSIONS, { filter: { search: '😀'.repeat(1_000) } })).expectOk();
    const messages = 'query ($search: String) { sessions { nodes { messages(filter: { search: $search }) { totalCount } } } }';
    const { extensions } = (await app.gql(messages, { search: 'x'.repeat(1_001) })).expectError('BAD_USER_INPUT');
    expect(extensions.details).toEqual({ field: 'filter.search', maxLength: 1_000 });
  });
});

describe('filter values with NUL or lone surrogates', () => {
  it('return BAD_USER_INPUT in every field', async () => {
    expect((await rejectedFilter({ or: [{ title: { contains: 'a\0b' } }] })).extensions.details.field).toBe('filter.or.0.title.contains');
    await rejectedFilter({ search: '\ud800' });
    await rejectedFilter({ tags: ['ok', '\0'] });
    await rejectedFilter({ metadata: { a: [{ '\0': 1 }] } });
    await rejectedFilter({ id: { in: ['\0'] } });
    await rejectedFilter({ parentId: '\udc00' });
  });
});
