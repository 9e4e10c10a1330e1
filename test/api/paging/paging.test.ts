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

/** Reads a page and checks that its nodes, edges and pageInfo agree. */
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
  it('returns the same rows for every page size and direction', async () => {
    const allIds = await walkForwards(list, list.maxPage);
    expect(new Set(allIds).size).toBe(list.size);
    expect(await walkBackwards(list, list.maxPage)).toEqual(allIds);
    const sizes = [7, list.defaultPage, list.maxPage - 1];
    // A size that divides the list evenly, so that the last page is full.
    sizes.push(...[2, 3, 5, 10, 13, 53].filter(size => list.size % size === 0 && list.size / size < 60).slice(0, 1));
    for (const size of sizes) {
      expect(await walkForwards(list, size)).toEqual(allIds);
      expect(await walkBackwards(list, size)).toEqual(allIds);
    }
  });

  it('can be read with pages of one row', async () => {
    const expected = (await pageOf(list, { first: 10 })).edges;
    let after: string | null = null;
    for (const edge of expected) {
      const page = await pageOf(list, { first: 1, after });
      expect(page.edges).toEqual([edge]);
      after = edge.cursor;
    }
    expect((await pageOf(list, { last: 1, before: after })).edges).toEqual([expected.at(-2)]);
  });

  it('has a default page size and a maximum, above which it returns PAGE_SIZE_TOO_LARGE', async () => {
    const rowsOfPage = (size: number) => Math.min(size, list.size);
    expect((await pageOf(list, {})).edges).toHaveLength(rowsOfPage(list.defaultPage));
    expect((await pageOf(list, { first: null, last: null, after: null, before: null })).edges).toHaveLength(rowsOfPage(list.defaultPage));
    expect((await pageOf(list, { first: list.maxPage })).edges).toHaveLength(rowsOfPage(list.maxPage));
    expect((await pageOf(list, { last: list.maxPage, first: null })).edges).toHaveLength(rowsOfPage(list.maxPage));
    for (const field of ['first', 'last']) {
      for (const requested of [list.maxPage + 1, MAX_INT]) {
        const { extensions } = (await app.gql(list.query, { [field]: requested })).expectError('PAGE_SIZE_TOO_LARGE');
        expect(extensions.details).toEqual({ field, requested, max: list.maxPage });
      }
    }
  });

  it('returns BAD_USER_INPUT for a negative size and for first together with last', async () => {
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

  it('returns an empty page with totalCount for the size 0, and still checks the cursor', async () => {
    const none = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null };
    expect(await pageOf(list, { first: 0 })).toEqual({ totalCount: list.size, edges: [], nodes: [], pageInfo: none });
    expect(await pageOf(list, { last: 0 })).toEqual({ totalCount: list.size, edges: [], nodes: [], pageInfo: none });
    const { endCursor } = (await pageOf(list, { first: 3 })).pageInfo;
    expect((await pageOf(list, { first: 0, after: endCursor })).pageInfo).toEqual({ ...none, hasPreviousPage: true });
    (await app.gql(list.query, { first: 0, after: 'garbage' })).expectError('BAD_CURSOR');
  });

  it('returns only rows between after and before, with first and with last', async () => {
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

describe('a cursor of a deleted row', () => {
  it.each(PAGED_LISTS.map(list => [list.name, list] as const))('continues %s at the place of the row', async (_, list) => {
    const { edges } = await pageOf(list, { first: 6 });
    const deleted = edges[2];
    if (deleted === undefined) throw new Error('The list is too short.');
    const { sql, values } = list.removal(deleted.node.id);
    await runSql(app.databaseUrl, sql, values);
    expect(idsOf(await pageOf(list, { first: 3, after: deleted.cursor }))).toEqual(edges.slice(3).map(edge => edge.node.id));
    expect(idsOf(await pageOf(list, { last: 2, before: deleted.cursor }))).toEqual(edges.slice(0, 2).map(edge => edge.node.id));
  });
});
