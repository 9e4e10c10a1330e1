import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { createSchema } from '../../src/schema.ts';
import { clearSessions, type StoredSession, storeSessions } from '../api/session-filter/stored-session.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { runSql } from '../support/sql.ts';
import { leafSelection } from './leaf-selection.ts';
import { explain, explainGeneric } from './query-plan.ts';
import { storedTrees } from './stored-trees.ts';

const schema = createSchema();
const [session, message, agent] = ['Session', 'Message', 'Agent'].map(name => leafSelection(schema, name));

/** Queries with the maximum number of SQL statements for each. */
const BUDGETS = [
  ['a plain page', 1, `{ sessions(first: 20) { nodes { id title status } pageInfo { hasNextPage } } }`],
  ['a page with every scalar', 1, `{ sessions(first: 20) { edges { cursor node { ${session} } } } }`],
  ['a page with totalCount', 2, `{ sessions(first: 20) { nodes { id } totalCount } }`],
  ['totalCount alone', 1, `{ sessions(first: 0) { totalCount } }`],
  ['a page with its messages', 2, `{ sessions(first: 20) { nodes { ${session} messages(first: 10) { nodes { ${message} } } } } }`],
  [
    'a page with everything',
    6,
    `{ sessions(first: 20) { nodes { ${session} lastMessage { ${message} } parent { ${session} } agent { ${agent} }
      messages(first: 10) { nodes { ${message} parts { type } } } } totalCount } }`,
  ],
  ['one session with its messages', 2, `{ sessions(first: 1) { nodes { messages(last: 50) { nodes { ${message} } } } } }`],
  ['a page with the ids of agents', 1, `{ sessions(first: 20) { nodes { agent { id agentId } } } }`],
  ['a page with the usage of trees', 2, `{ sessions(first: 20) { nodes { usage(scope: TREE) { totalTokens } } } }`],
  [
    'a list selected twice with different arguments',
    3,
    `{ sessions(first: 20) { nodes { oldest: messages(first: 2) { nodes { content } } newest: messages(last: 2) { nodes { content } } } } }`,
  ],
  [
    'a list selected twice with the same arguments',
    2,
    `{ sessions(first: 20) { nodes { a: messages(first: 2) { nodes { content } } b: messages(first: 2) { nodes { content } } } } }`,
  ],
  [
    'totalCount of nested lists',
    4,
    `{ sessions(first: 20) { nodes { messages(first: 1) { totalCount nodes { id } } children(first: 0) { totalCount } } } }`,
  ],
  [
    'three levels of children',
    4,
    `{ sessions(first: 10, filter: { root: true }) { nodes { children(first: 5) { nodes { children(first: 5) { nodes { children(first: 5) { nodes { id } } } } } } } } }`,
  ],
  [
    'agents, their sessions, their messages and the sessions of these',
    5,
    `{ agents(first: 5) { nodes { agentId sessionCount sessions(first: 5) { nodes { messages(first: 5) { nodes { session { title } } } } } } } }`,
  ],
  ['a page with its events', 2, `{ sessions(first: 20) { nodes { events(first: 10) { edges { cursor node { __typename agentId } } } } } }`],
  [
    'a page with its newest events, totalCount, sessions and messages',
    5,
    `{ sessions(first: 20) { nodes { events(last: 5) { totalCount nodes { session { title } ... on MessageAddedEvent { message { content } } } } } } }`,
  ],
  ['parents of parents', 3, `{ sessions(first: 20) { nodes { parent { parent { id title } } } } }`],
  ['parents of messages', 3, `{ sessions(first: 20) { nodes { messages(last: 3) { nodes { parent { content } } } } } }`],
] as const;

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

async function statementsOf(query: string) {
  const answer = await app.gql(query);
  answer.expectOk();
  return answer.sql;
}

async function storeTrees(count: number): Promise<readonly StoredSession[]> {
  const sessions = storedTrees(count, 12);
  await clearSessions(app.databaseUrl);
  await storeSessions(app.databaseUrl, sessions);
  await runSql(
    app.databaseUrl,
    `insert into aria_engine.session_events (session_id, agent_id, type, payload)
     select s.id, s.agent_id, 'MESSAGE_ADDED', jsonb_build_object('messageId', m.id, 'position', m.position)
     from aria_engine.chat_messages m join aria_engine.chat_sessions s on s.id = m.session_id order by m.position`,
  );
  return sessions;
}

describe.each([1, 30, 1_000])('with %i sessions', count => {
  let sessions: readonly StoredSession[];

  beforeAll(async () => {
    sessions = await storeTrees(count);
  });

  it.each(BUDGETS)('%s needs at most %i statement(s)', async (_, budget, query) => {
    expect((await statementsOf(query)).length).toBeLessThanOrEqual(budget);
  });

  it('a page of 100 needs no more statements', async () => {
    for (const [name, budget, query] of BUDGETS) {
      if (name !== 'totalCount alone')
        expect((await statementsOf(query.replace(/first: \d+/, 'first: 100'))).length, name).toBeLessThanOrEqual(budget);
    }
  });

  it('nodes(ids) needs one statement for each type', async () => {
    const { sql, data } = await app.gql<{ nodes: unknown[] }>(
      'query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Session { tags title } ... on Agent { agentId } } }',
      {
        ids: sessions
          .slice(-90)
          .flatMap(({ id, agentId }) => [id, agentId].map((rest, type) => globalId(type === 0 ? 'Session' : 'Agent', rest)))
          .slice(0, 100),
      },
    );
    expect(data?.nodes.every(node => node !== null)).toBe(true);
    expect(sql).toHaveLength(2);
  });
});

const globalId = (type: string, rest: string) => Buffer.from(`${type}:${rest}`).toString('base64');

describe('every list', () => {
  it('has a LIMIT in its SQL', async () => {
    await storeTrees(30);
    for (const [name, , query] of BUDGETS) {
      if (query.includes('totalCount')) continue;
      const lists = query.match(/\((first|last): /g)?.length ?? 0;
      const limited = (await statementsOf(query)).filter(({ sql }) => /\blimit (\(select )?(\$\d+|(?!1\b)\d+)/.test(sql));
      // Two equal lists share a statement.
      expect(limited.length, name).toBe(name.includes('the same arguments') ? lists - 1 : lists);
    }
  });

  it('needs no statement for an empty page', async () => {
    expect(await statementsOf('{ sessions(first: 0) { nodes { id messages { nodes { id } } } } }')).toEqual([]);
    expect(await statementsOf('{ agents(last: 0) { nodes { id } } }')).toEqual([]);
    expect(
      await statementsOf('{ sessions(first: 5) { nodes { messages(first: 0) { nodes { id } } children(first: 0) { nodes { id } } } } }'),
    ).toHaveLength(1);
  });

  it('reads only the rows of the page, even if a session has 5,000 messages', async () => {
    const sessions = await storeTrees(30);
    await storeSessions(app.databaseUrl, storedTrees(1, 5_000));
    await runSql(app.databaseUrl, 'analyze aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages');
    const answer = await app.gql<{ sessions: { nodes: { messages: { nodes: unknown[] } }[] } }>(
      `{ sessions(first: 100, orderBy: { field: MESSAGE_COUNT }) { nodes { messageCount lastMessage { content } messages(first: 10) { nodes { content } }
        newest: messages(last: 10) { nodes { content } } } } }`,
    );
    const { nodes } = answer.expectOk().sessions;
    expect(nodes.map(node => node.messages.nodes.length)).toEqual([...sessions.map(() => 10), 10]);
    const client = new pg.Client(app.databaseUrl);
    await client.connect();
    try {
      for (const statement of answer.sql.filter(({ sql }) => sql.includes('chat_messages'))) {
        for (const plan of [await explain(client, statement), await explainGeneric(client, statement)]) {
          expect(plan.rowsRead, plan.nodes.join(' | ')).toBeLessThanOrEqual(nodes.length * 12);
        }
      }
    } finally {
      await client.end();
    }
  });
});

describe('Session.events', () => {
  it('reads only the rows of the pages, even if a session has 20,000 events', async () => {
    const [busiest] = await storeTrees(30);
    await runSql(
      app.databaseUrl,
      `insert into aria_engine.session_events (session_id, agent_id, type) select $1, 'agent-0', 'RESTORED' from generate_series(1, 20000)`,
      [busiest?.id],
    );
    // This read makes the sequencer number the events. The plan must be right with and without statistics.
    const { cursor } = (
      await app.gql<{ session: { events: { pageInfo: { cursor: string } } } }>(
        'query($id: ID!) { session(id: $id) { events(first: 20) { pageInfo { cursor: endCursor } } } }',
        { id: busiest?.id },
      )
    ).expectOk().session.events.pageInfo;
    const client = new pg.Client(app.databaseUrl);
    await client.connect();
    try {
      for (const analyze of ['select 1', 'analyze aria_engine.session_events']) {
        await client.query(analyze);
        for (const part of ['first: 10', 'last: 10', 'first: 10, after: $cursor', 'last: 10, before: $cursor']) {
          const answer = await app.gql(
            `{ sessions(first: 30) { nodes { events(${part.replace('$cursor', `"${cursor}"`)}) { nodes { cursor } } } } }`,
          );
          answer.expectOk();
          for (const statement of answer.sql.filter(({ sql }) => sql.includes('session_events'))) {
            for (const plan of [await explain(client, statement), await explainGeneric(client, statement)]) {
              expect(plan.rowsRead, `${part}: ${plan.nodes.join(' | ')}`).toBeLessThanOrEqual(30 * 12 + 1);
            }
          }
        }
      }
    } finally {
      await client.end();
    }
  });
});

describe('the columns of a statement', () => {
  it('are limited to those that the selected fields need', async () => {
    const [plain] = await statementsOf('{ sessions { nodes { id title } } }');
    for (const column of ['metadata', 'settings_extra', 'prompt', 'tags', 'total_tokens', 'lineage'])
      expect(plain?.sql).not.toContain(column);
    const [extra] = await statementsOf('{ sessions { nodes { settings { extra } } } }');
    expect(extra?.sql).toContain('settings_extra');
    const [settings] = await statementsOf('{ sessions { nodes { settings { thinkingLevel } } } }');
    expect(settings?.sql).not.toContain('settings_extra');
    const [, messages] = await statementsOf('{ sessions { nodes { messages { nodes { id position } } } } }');
    for (const column of ['m.content', 'm.parts', 'm.metadata']) expect(messages?.sql).not.toContain(column);
  });
});
