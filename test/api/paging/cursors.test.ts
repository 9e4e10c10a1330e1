import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { fetchPage, PAGED_LISTS, storePagedData } from './paged-lists.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
  await storePagedData(app);
});

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (cursor: string) => JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];

const ORDERS = ['CREATED_AT', 'ENDED_AT', 'LAST_ACTIVITY_AT', 'TITLE', 'MESSAGE_COUNT', 'TOTAL_TOKENS', 'PRIORITY'].map(field => ({
  name: `sessions by ${field}`,
  query: `query Page($first: Int, $after: String, $before: String) {
    sessions(first: $first, after: $after, before: $before, orderBy: [{ field: ${field} }]) {
      totalCount edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }`,
}));

/** Values that are invalid, or barely valid, for every sort type. */
const INVALID_VALUES: readonly unknown[] = [
  '',
  'null',
  'infinity',
  '-infinity',
  'NaN',
  'now',
  '2026-02-30 00:00:00+00',
  '2026-02-29 00:00:00.5+00',
  '0000-01-01 00:00:00+00',
  '0001-01-01 00:00:00+00',
  '9999-12-31 23:59:59.999+00',
  '2026-01-01 24:00:00+00',
  '2026-01-01 23:59:60+00',
  '2026-13-01 00:00:00+00',
  '2026-01-01 00:00:00.1234+00',
  '2026-01-01 00:00:00+01',
  '99999999999999999999',
  '-999999999',
  '1e5',
  '1e400',
  '1e-400',
  '0x10',
  '１２',
  ' 1',
  "'; drop table chat_sessions; --",
  'a\0b',
  '\ud800',
  '😀'.repeat(5_000),
  '00000000-0000-0000-0000-000000000000',
  '00000000-0000-0000-0000-00000000000G',
  '{00000000-0000-0000-0000-000000000000}',
  1,
  -0.5,
  null,
  true,
  [],
  ['x'],
  {},
  { toString: 'x' },
];

/** Expects a page or BAD_CURSOR, and no other error. */
async function expectPageOrBadCursor(query: string, cursor: string): Promise<void> {
  for (const argument of ['after', 'before']) {
    const answer = await app.gql(query, { first: 2, [argument]: cursor });
    if (answer.errors !== undefined) {
      expect(answer.expectError('BAD_CURSOR').extensions.details).toEqual({ field: argument });
      expect(answer.status).toBe(200);
    }
  }
}

const expectBadCursor = async (query: string, cursor: string) =>
  (await app.gql(query, { first: 2, after: cursor })).expectError('BAD_CURSOR');

describe.each([...PAGED_LISTS.filter(list => list.ownCursors !== true), ...ORDERS].map(list => [list.name, list.query] as const))(
  'a cursor of %s',
  (_, query) => {
    const cursorOfPage = async () => (await fetchPage(app, { query }, { first: 2 })).pageInfo.endCursor ?? '';

    it('with a forged value gives a page or BAD_CURSOR', async () => {
      const parts = decode(await cursorOfPage());
      for (let index = 0; index < parts.length; index += 1) {
        for (const value of INVALID_VALUES) await expectPageOrBadCursor(query, encode(parts.with(index, value)));
      }
    });

    it('with another version, another order mark or the wrong number of values gives BAD_CURSOR', async () => {
      const parts = decode(await cursorOfPage());
      for (const forged of [
        parts.with(0, 2),
        parts.with(0, '1'),
        parts.with(1, 'x'),
        parts.slice(0, -1),
        [...parts, parts.at(-1)],
        [1],
        [],
        {},
        null,
        1,
      ]) {
        await expectBadCursor(query, encode(forged));
      }
    });

    it('that is truncated, changed or random gives a page or BAD_CURSOR', async () => {
      const cursor = await cursorOfPage();
      const random = createRandomSource(1, 3);
      const randomBytes = () => Buffer.from(Array.from({ length: random.integer(0, 60) }, () => random.integer(0, 255)));
      const changedCursor = () => {
        const buffer = Buffer.from(cursor, 'base64url');
        buffer[random.integer(0, buffer.length - 1)] = random.integer(0, 255);
        return buffer.toString('base64url');
      };
      const forged = [cursor.slice(0, -1), cursor.slice(1), `${cursor}AAAA`, ''];
      for (let index = 0; index < 20; index += 1)
        forged.push(randomBytes().toString('base64url'), randomBytes().toString('utf8'), changedCursor());
      for (const text of forged) await expectPageOrBadCursor(query, text);
    });
  },
);

describe('a cursor', () => {
  it('of another list gives BAD_CURSOR', async () => {
    for (const [index, from] of PAGED_LISTS.entries()) {
      const cursor = (await fetchPage(app, from, { first: 1 })).pageInfo.endCursor ?? '';
      for (const [other, to] of PAGED_LISTS.entries()) if (other !== index) await expectBadCursor(to.query, cursor);
    }
  });

  it('gives BAD_CURSOR with another order or direction', async () => {
    const query = (orderBy: string) =>
      `query Page($first: Int, $after: String) { sessions(first: $first, after: $after, orderBy: ${orderBy}) { edges { cursor } pageInfo { endCursor } } }`;
    const cursor = (await fetchPage(app, { query: query('[{ field: TITLE }]') }, { first: 1 })).pageInfo.endCursor ?? '';
    for (const same of ['{ field: TITLE }', '[{ field: TITLE, direction: DESC }]', '[{ field: TITLE, direction: null }]']) {
      (await app.gql(query(same), { first: 1, after: cursor })).expectOk();
    }
    for (const other of [
      '[{ field: TITLE, direction: ASC }]',
      '[{ field: CREATED_AT }]',
      '[{ field: TITLE }, { field: CREATED_AT }]',
      'null',
    ]) {
      await expectBadCursor(query(other), cursor);
    }
  });

  it('gives BAD_CURSOR with another filter, but not with the same filter written differently', async () => {
    const query =
      'query Page($first: Int, $after: String, $filter: SessionFilter) { sessions(first: $first, after: $after, filter: $filter) { pageInfo { endCursor } } }';
    const filter = { agentId: { eq: 'walker' }, createdAt: { from: '2025-01-01T00:00:00.000Z' } };
    const { sessions } = (await app.gql<{ sessions: { pageInfo: { endCursor: string } } }>(query, { first: 1, filter })).expectOk();
    const after = sessions.pageInfo.endCursor;
    for (const same of [
      { createdAt: { before: null, from: '2025-01-01T01:00:00.000+01:00' }, agentId: { eq: 'walker' } },
      { ...filter, status: null, and: null },
    ]) {
      (await app.gql(query, { first: 1, after, filter: same })).expectOk();
    }
    for (const other of [null, {}, { agentId: { eq: 'walker' } }, { ...filter, agentId: { eq: 'other' } }, { ...filter, pinned: false }]) {
      (await app.gql(query, { first: 1, after, filter: other })).expectError('BAD_CURSOR');
    }
  });

  it('of Session.messages gives BAD_CURSOR with another filter or branch', async () => {
    const messages = PAGED_LISTS.filter(list => list.name.startsWith('Session.messages'));
    expect(messages).toHaveLength(2);
    const [all, filtered] = messages;
    const cursor = (await fetchPage(app, { query: all?.query ?? '' }, { first: 1 })).pageInfo.endCursor ?? '';
    await expectBadCursor(filtered?.query ?? '', cursor);
    await expectBadCursor((all?.query ?? '').replace('after: $after', 'after: $after, branch: ALL'), cursor);
  });

  it('is returned for aliases, fragments, edges, pageInfo alone and nested lists', async () => {
    const query = /* GraphQL */ `
      query {
        plain: sessions(first: 2) { nodes { id } }
        end: sessions(first: 2) { info: pageInfo { to: endCursor } }
        start: sessions(first: 2) { ...Start }
        edges: sessions(first: 2) { e: edges { c: cursor } }
        agent(agentId: "walker") {
          plain: sessions(first: 2) { nodes { title messages(first: 1) { nodes { id } } } }
          sessions(first: 2) { ... on SessionConnection { pageInfo { endCursor } nodes { messages(first: 1) { pageInfo { startCursor } } } } }
        }
      }
      fragment Start on SessionConnection { pageInfo { ...From } }
      fragment From on PageInfo { from: startCursor }
    `;
    const data = (
      await app.gql<{
        end: { info: { to: string } };
        start: { pageInfo: { from: string } };
        edges: { e: { c: string }[] };
        agent: { sessions: { pageInfo: { endCursor: string } } };
      }>(query)
    ).expectOk();
    expect([data.start.pageInfo.from, data.end.info.to]).toEqual(data.edges.e.map(edge => edge.c));
    expect(decode(data.agent.sessions.pageInfo.endCursor)).toHaveLength(4);
  });

  it('of 1,000,000 characters gives BAD_CURSOR', async () => {
    const [list] = PAGED_LISTS;
    await expectBadCursor(list?.query ?? '', 'A'.repeat(1_000_000));
    await expectBadCursor(list?.query ?? '', Buffer.from('['.repeat(500_000)).toString('base64url'));
  });
});
