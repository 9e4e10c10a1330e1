import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions } from '../../scripts/seed/session-generator.ts';
import { PREPARED, type RecordedStatement } from '../../src/postgres/database.ts';
import { createSchema } from '../../src/schema.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { leafSelection } from './leaf-selection.ts';

const KEYS = { defaultAgent: 'main', mainKey: 'main' };
const UNTIL = new Date('2026-11-20T12:00:00.000Z');
/** Postgres plans the first five executions of a prepared statement for their values. Then it compares costs. */
const EXECUTIONS = 10;

const schema = createSchema();
const [session, message] = ['Session', 'Message'].map(name => leafSelection(schema, name));

/**
 * Operations that are sent often. The totals of agents are left out: they read all sessions of an agent, beside which planning costs little,
 * and the best plan depends on how many these are.
 */
const OPERATIONS = {
  'one session': `query ($session: ID!) { node(id: $session) { ... on Session { ${session} } } }`,
  'one session with messages': `query ($session: ID!) { node(id: $session) { ... on Session { title lastMessage { content }
    messages(first: 50) { nodes { ${message} parts { type } } } newest: messages(last: 5, branch: ALL) { nodes { parent { id } } } } } }`,
  'one message': 'query ($message: ID!) { node(id: $message) { ... on Message { content parent { id } session { title } } } }',
  'a page': `{ sessions(first: 20) { nodes { ${session} } } }`,
  'a page in another order': '{ sessions(first: 20, orderBy: [{ field: CREATED_AT, direction: ASC }]) { nodes { id } } }',
  'the page after a cursor': 'query ($cursor: String!) { sessions(first: 20, after: $cursor) { nodes { id } } }',
  'the page before a cursor': 'query ($cursor: String!) { sessions(last: 20, before: $cursor) { nodes { id } } }',
  'a page with messages': '{ sessions(first: 20) { nodes { messages(first: 10) { nodes { role content } } lastMessage { role } } } }',
  'a page with parents, children and the usage of trees':
    '{ sessions(first: 20) { nodes { parent { title } children(first: 5) { nodes { title } } usage(scope: TREE) { totalTokens } } } }',
  'a page with events': '{ sessions(first: 20) { nodes { events(last: 5) { totalCount nodes { __typename session { title } } } } } }',
  'the sessions of agents': '{ agents(first: 5) { nodes { sessions(first: 3) { nodes { title } } } } }',
  'an append':
    'mutation ($open: ID!) { appendMessage(input: { sessionId: $open, message: { role: USER, content: "more" } }) { message { position } } }',
};

interface Nodes {
  readonly nodes: readonly { readonly id: string }[];
}

let app: TestApp;
let client: pg.Client;
let variables: Record<string, unknown>;

beforeAll(async () => {
  app = await startTestApp();
  client = new pg.Client(app.databaseUrl);
  await client.connect();
  await writeSessions(client, generateSessions({ sessions: 1_000, messages: 10, seed: 1, until: UNTIL, keys: KEYS }), KEYS);
  await client.query('vacuum (analyze)');
  const FIRST = '{ sessions(first: 100) { nodes { id messages(first: 1) { nodes { id } } } pageInfo { endCursor } } }';
  const { sessions } = (await app.gql<{ sessions: FirstPage }>(FIRST)).expectOk();
  const [first] = sessions.nodes;
  const CREATE = 'mutation { createSession(input: {}) { session { id } } }';
  const { createSession } = (await app.gql<{ createSession: { session: { id: string } } }>(CREATE)).expectOk();
  variables = {
    session: first?.id,
    open: createSession.session.id,
    message: first?.messages.nodes[0]?.id,
    cursor: sessions.pageInfo.endCursor,
  };
}, 120_000);

afterAll(() => client?.end());

interface FirstPage {
  readonly nodes: readonly { readonly id: string; readonly messages: Nodes }[];
  readonly pageInfo: { readonly endCursor: string };
}

let executed = 0;

/** Executes a prepared statement without lasting effects, and returns how often Postgres used one plan for all values. */
async function countGenericPlans({ sql, parameters }: RecordedStatement): Promise<number> {
  const name = `statement ${++executed}`;
  await client.query('begin');
  try {
    for (let i = 0; i < EXECUTIONS; i += 1) {
      await client.query('savepoint before');
      await client.query({ name, text: sql, values: [...parameters] });
      await client.query('rollback to before');
    }
    const COUNT = 'select generic_plans::int as count from pg_prepared_statements where name = $1';
    const { rows } = await client.query<{ count: number }>(COUNT, [name]);
    return rows[0]?.count ?? 0;
  } finally {
    await client.query('rollback');
  }
}

it.each(Object.entries(OPERATIONS))('the prepared statements of %s are planned once', async (_name, operation) => {
  const used = Object.keys(variables).filter(name => operation.includes(`($${name}:`));
  const response = await app.gql(operation, Object.fromEntries(used.map(name => [name, variables[name]])));
  response.expectOk();
  const statements = response.sql.filter(({ sql }) => sql.startsWith(PREPARED));
  expect(statements).not.toEqual([]);
  for (const statement of statements) expect(await countGenericPlans(statement), statement.sql).toBeGreaterThan(0);
});
