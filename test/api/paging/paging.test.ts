import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { type ConnectionPage, fetchPage, PAGED_LISTS, type PageArguments, type PagedList, storePagedData } from './paged-lists.ts';

const MAX_INT = 2_147_483_647;

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
  await storePagedData(app);
});

const idsOf = (page: ConnectionPage) => page.edges.map(edge => edge.node.id);

/** A page, checked for what holds of every page. */
async function pageOf(list: PagedList, args: PageArguments): Promise<ConnectionPage> {
  const page = await fetchPage(app, list, args);
  expect(page.nodes).toEqual(page.edges.map(edge => edge.node));
  expect(page.pageInfo.startCursor).toBe(page.edges[0]?.cursor ?? null);
  expect(page.pageInfo.endCursor).toBe(page.edges.at(-1)?.cursor ?? null);
  return page;
}

async function walkForwards(list: PagedList, size: number): Promise<string[]> {
  const ids: string[] = [];
  for (let after: string | null = null; ; ) {
    const page = await pageOf(list, { first: size, after });
    expect(page.pageInfo.hasPreviousPage).toBe(after !== null);
    expect(page.totalCount).toBe(list.size);
    ids.push(...idsOf(page));
    if (!page.pageInfo.hasNextPage) return ids;
    expect(page.edges).toHaveLength(size);
    after = page.pageInfo.endCursor;
  }
}

async function walkBackwards(list: PagedList, size: number): Promise<string[]> {
  const ids: string[] = [];
  for (let before: string | null = null; ; ) {
    const page = await pageOf(list, { last: size, before });
    expect(page.pageInfo.hasNextPage).toBe(before !== null);
    ids.unshift(...idsOf(page));
    if (!page.pageInfo.hasPreviousPage) return ids;
    expect(page.edges).toHaveLength(size);
    before = page.pageInfo.startCursor;
  }
}

describe.each(PAGED_LISTS.map(list => [list.name, list] as const))('%s', (_, list) => {
  it('gives the same rows whatever the size of the page and the direction of the walk', async () => {
    const whole = await walkForwards(list, list.maxPage);
    expect(new Set(whole).size).toBe(list.size);
    expect(await walkBackwards(list, list.maxPage)).toEqual(whole);
    const sizes = [7, list.defaultPage, list.maxPage - 1];
    // Divides it without a rest: the last page is full, and known to be the last.
    sizes.push(...[2, 3, 5, 10, 13, 53].filter(size => list.size % size === 0 && list.size / size < 60).slice(0, 1));
    for (const size of sizes) {
      expect(await walkForwards(list, size)).toEqual(whole);
      expect(await walkBackwards(list, size)).toEqual(whole);
    }
  });

  it('goes one by one', async () => {
    const ahead = (await pageOf(list, { first: 10 })).edges;
    let after: string | null = null;
    for (const edge of ahead) {
      const page = await pageOf(list, { first: 1, after });
      expect(page.edges).toEqual([edge]);
      after = edge.cursor;
    }
    expect((await pageOf(list, { last: 1, before: after })).edges).toEqual([ahead.at(-2)]);
  });

  it('has its own default and its own maximum', async () => {
    const fits = (size: number) => Math.min(size, list.size);
    expect((await pageOf(list, {})).edges).toHaveLength(fits(list.defaultPage));
    expect((await pageOf(list, { first: null, last: null, after: null, before: null })).edges).toHaveLength(fits(list.defaultPage));
    expect((await pageOf(list, { first: list.maxPage })).edges).toHaveLength(fits(list.maxPage));
    expect((await pageOf(list, { last: list.maxPage, first: null })).edges).toHaveLength(fits(list.maxPage));
    for (const field of ['first', 'last']) {
      for (const requested of [list.maxPage + 1, MAX_INT]) {
        const { extensions } = (await app.gql(list.query, { [field]: requested })).expectError('PAGE_SIZE_TOO_LARGE');
        expect(extensions.details).toEqual({ field, requested, max: list.maxPage });
      }
    }
  });

  it('refuses a negative size, and both sizes together', async () => {
    for (const [field, args] of [
      ['first', { first: -1 }],
      ['last', { last: -1 }],
      ['first', { first: -MAX_INT }],
      ['last', { first: 1, last: 1 }],
      ['last', { first: 0, last: 0 }],
    ] as const) {
      expect((await app.gql(list.query, args)).expectError('BAD_USER_INPUT').extensions.details.field).toBe(field);
    }
  });

  it('gives an empty page for the size 0, its total all the same, and still reads the cursors', async () => {
    const none = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null };
    expect(await pageOf(list, { first: 0 })).toEqual({ totalCount: list.size, edges: [], nodes: [], pageInfo: none });
    expect(await pageOf(list, { last: 0 })).toEqual({ totalCount: list.size, edges: [], nodes: [], pageInfo: none });
    const { endCursor } = (await pageOf(list, { first: 3 })).pageInfo;
    expect((await pageOf(list, { first: 0, after: endCursor })).pageInfo).toEqual({ ...none, hasPreviousPage: true });
    (await app.gql(list.query, { first: 0, after: 'garbage' })).expectError('BAD_CURSOR');
  });

  it('stays between its cursors where both are given, from either end', async () => {
    const { edges } = await pageOf(list, { first: 20 });
    const [after, before] = [edges[4]?.cursor ?? '', edges[15]?.cursor ?? ''];
    const between = edges.slice(5, 15);
    const forwards = await pageOf(list, { first: 20, after, before });
    expect(forwards.edges).toEqual(between);
    expect(forwards.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: true });
    expect((await pageOf(list, { first: 3, after, before })).edges).toEqual(between.slice(0, 3));
    const backwards = await pageOf(list, { last: 3, after, before });
    expect(backwards.edges).toEqual(between.slice(-3));
    expect(backwards.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: true });
    expect((await pageOf(list, { first: 20, after: before, before: after })).edges).toEqual([]);
    expect((await pageOf(list, { first: 20, after, before: after })).edges).toEqual([]);
    expect((await pageOf(list, { first: 20, before })).edges).toEqual(edges.slice(0, 15));
  });
});

describe('the row behind a cursor', () => {
  it.each(PAGED_LISTS.map(list => [list.name, list] as const))('may be gone: %s goes on behind where it was', async (_, list) => {
    const { edges } = await pageOf(list, { first: 6 });
    const gone = edges[2];
    if (gone === undefined) throw new Error('The list is too short.');
    const { sql, values } = list.removal(gone.node.id);
    await runSql(app.databaseUrl, sql, values);
    expect(idsOf(await pageOf(list, { first: 3, after: gone.cursor }))).toEqual(edges.slice(3).map(edge => edge.node.id));
    expect(idsOf(await pageOf(list, { last: 2, before: gone.cursor }))).toEqual(edges.slice(0, 2).map(edge => edge.node.id));
  });
});
