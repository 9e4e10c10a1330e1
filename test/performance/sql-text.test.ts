import { beforeAll, describe, expect, it } from 'vitest';
import { createSchema } from '../../src/schema.ts';
import { storeSessions } from '../api/session-filter/stored-session.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { leafSelection } from './leaf-selection.ts';
import { storedTrees } from './stored-trees.ts';

const schema = createSchema();

const QUERIES = {
  'page-of-sessions':
    '{ sessions(first: 20) { nodes { id title status kind agentId messageCount lastActivityAt } pageInfo { hasNextPage } } }',
  'page-with-messages': '{ sessions(first: 20) { nodes { id messages(first: 10) { nodes { role content } } } } }',
  'page-with-everything': `{ sessions(first: 20) { nodes { ${leafSelection(schema, 'Session')} lastMessage { content } parent { title }
    agent { sessionCount } messages(first: 10) { nodes { ${leafSelection(schema, 'Message')} parts { type } } } } totalCount } }`,
  'session-by-id': '{ node(id: "U2Vzc2lvbjowMTk3YTAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMGE=") { ... on Session { title status } } }',
  'filtered-page': `{ sessions(first: 20, filter: { agentId: { eq: "agent-1" }, status: { notIn: [FAILED] }, createdAt: { from: "2026-01-01T00:05:00.000Z" },
    or: [{ title: { contains: "50%" } }, { not: { label: { isNull: true } } }] }, orderBy: [{ field: ENDED_AT }, { field: TITLE, direction: ASC }]) {
    nodes { id } totalCount } }`,
  'searched-page': '{ sessions(first: 20, filter: { search: "needle" }) { nodes { id } } }',
  agents: '{ agents(first: 5) { nodes { agentId sessionCount sessions(first: 3) { nodes { title } totalCount } } totalCount } }',
  tree: '{ sessions(first: 5, filter: { root: true }) { nodes { depth usage(scope: TREE) { totalTokens } children(first: 5) { nodes { title } totalCount } } } }',
  events: '{ sessions(first: 5) { nodes { events(last: 10) { totalCount nodes { __typename cursor } } } } }',
  'messages-filtered':
    '{ sessions(first: 5) { nodes { messages(last: 5, branch: ALL, filter: { roles: [USER], afterPosition: 2, search: "x" }) { nodes { id parent { id } } totalCount } } } }',
};

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
  await storeSessions(app.databaseUrl, storedTrees(20, 6));
});

describe('the SQL of a query', () => {
  it.each(Object.entries(QUERIES))('matches the reviewed file sql/%s.sql', async (name, query) => {
    const answer = await app.gql(query);
    answer.expectOk();
    const texts = answer.sql.map(({ sql }) => `${sql.replace(/\s+/g, ' ').trim()};\n`);
    // Sorted, because the order of statements of one level varies.
    await expect(texts.toSorted().join('\n')).toMatchFileSnapshot(`sql/${name}.sql`);
  });
});

describe('the SQL of a second page', () => {
  it.each([
    ['LAST_ACTIVITY_AT', 'after', '(a.last_activity_at,a.session_id) < ($1::timestamptz,$2::uuid)'],
    ['LAST_ACTIVITY_AT', 'before', '(a.last_activity_at,a.session_id) > ($1::timestamptz,$2::uuid)'],
    ['CREATED_AT', 'after', '(s.created_at,s.id) < ($1::timestamptz,$2::uuid)'],
  ])('ordered by %s with %s restricts the index to one range', async (field, argument, range) => {
    const query = `query($after: String, $before: String) { sessions(first: 3, after: $after, before: $before, orderBy: { field: ${field} }) { pageInfo { endCursor } } }`;
    const first = (await app.gql<{ sessions: { pageInfo: { endCursor: string } } }>(query)).expectOk();
    const second = await app.gql(query, { [argument]: first.sessions.pageInfo.endCursor });
    second.expectOk();
    expect(second.sql.map(({ sql }) => sql.replace(/\s+/g, ' ')).join()).toContain(range);
  });
});
