import { beforeAll, describe, expect, it } from 'vitest';
import { createSchema } from '../../../src/schema.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { nodeFieldOperations, rootOperations, type Samples } from './generated-operations.ts';
import { makeKey, type TestKey } from './keys.ts';

/** Stands in every text of the other agent. */
const MARK = 'zebrafish';
/** Stands in every text of both. */
const WORD = 'quagga';

interface Made {
  readonly id: string;
  readonly sessionId: string;
}

interface Question {
  readonly name: string;
  readonly document: string;
}

const schema = createSchema();

let app: TestApp;
let admin: TestKey;
/** Bound to agent `a`, whose sessions stand between those of agent `b`: above them, below them, and in between. */
let key: TestKey;
let questions: readonly Question[];
let traces: readonly string[];

async function make(agentId: 'a' | 'b', input: Record<string, unknown> = {}): Promise<Made & { readonly messageId: string }> {
  const title = agentId === 'a' ? WORD : `${WORD} ${MARK}`;
  const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { id sessionId } } }';
  const made = await app.gql<{ createSession: { session: Made } }>(CREATE, { input: { agentId, title, task: title, ...input } }, admin);
  const { session } = made.expectOk().createSession;
  const APPEND = `mutation ($sessionId: ID!, $content: String!) {
    appendMessage(input: { sessionId: $sessionId, message: { role: USER, content: $content, usage: { inputTokens: 77 } } }) { message { id } }
  }`;
  const appended = await app.gql<{ appendMessage: { message: { id: string } } }>(APPEND, { sessionId: session.id, content: title }, admin);
  return { ...session, messageId: appended.expectOk().appendMessage.message.id };
}

beforeAll(async () => {
  app = await startTestApp({ env: { MAX_QUERY_COST: '1000000000' } });
  admin = await makeKey(app, { scope: 'ADMIN' });
  key = await makeKey(app, { scope: 'ADMIN', agentIds: ['a'], by: admin.secret });
  const foreignKey = await makeKey(app, { scope: 'ADMIN', agentIds: ['b'], by: admin.secret });
  const above = await make('b', { key: 'plan', label: MARK });
  const mine = await make('a', { key: 'plan', parentId: above.id });
  const between = await make('b', { parentId: mine.id });
  const below = await make('a', { parentId: between.id });
  traces = [MARK, '"b"', foreignKey.id, ...[above, between].flatMap(({ id, sessionId, messageId }) => [id, sessionId, messageId])];
  const samples: Samples = {
    byName: {
      id: `"${mine.id}"`,
      ids: [above, mine, between, below].map(({ id }) => `"${id}"`).join(', '),
      sessionId: `"${mine.id}"`,
      agentId: '"a"',
      key: '"agent:a:plan"',
      keys: '"agent:a:plan", "agent:b:plan"',
      query: `"${WORD}"`,
    },
    text: WORD,
  };
  const agent = Buffer.from('Agent:a').toString('base64');
  const filters = ['{ root: true }', '{ root: false }', '{ not: { root: true } }', `{ parentId: "${above.id}" }`, `{ search: "${WORD}" }`];
  const ofBelow = nodeFieldOperations(schema, { Session: below.id }, samples);
  const ofMine = nodeFieldOperations(schema, { Session: mine.id, Message: mine.messageId, Agent: agent, ApiKey: key.id }, samples);
  questions = [
    ...rootOperations(schema, samples)
      // The clock goes on.
      .filter(({ type, field }) => type === 'query' && field !== 'serverInfo')
      .map(({ field, document }) => ({ name: field, document })),
    ...[...ofMine, ...ofBelow].map(({ type, field, document }) => ({ name: `${type}.${field}`, document })),
    ...filters.map(filter => ({
      name: `sessions by ${filter}`,
      document: `{ sessions(filter: ${filter}) { totalCount nodes { id depth } } searchMessages(query: "${WORD}", sessions: ${filter}) { totalCount } }`,
    })),
  ];
});

/** What the key of agent `a` is told, by question. */
async function askAll(): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  for (const { name, document } of questions) {
    const { data, errors } = await app.gql(document, undefined, key);
    const codes = errors?.map(error => error.extensions.code);
    // Of the key itself; it is written now and then.
    answers.set(`${name}: ${document}`, JSON.stringify({ data, codes }).replaceAll(/"lastUsedAt":[^,}]+/g, ''));
  }
  return answers;
}

describe('to a key of one agent', () => {
  it('every field answers as though the sessions of other agents did not exist', async () => {
    const answers = await askAll();
    for (const [question, answer] of answers) {
      expect({ question, traces: traces.filter(trace => answer.includes(trace)) }).toEqual({ question, traces: [] });
      expect(answer, question).not.toMatch(/"node":null|INTERNAL_SERVER_ERROR|GRAPHQL_VALIDATION_FAILED|QUERY_TOO_COMPLEX/);
    }
    await runSql(
      app.databaseUrl,
      `update aria_engine.chat_sessions set parent_id = null where parent_id in (select id from aria_engine.chat_sessions where agent_id = 'b');
       delete from aria_engine.chat_sessions where agent_id = 'b';
       delete from aria_engine.api_keys where agent_ids <> '{a}' or agent_ids is null`,
    );
    const alone = await askAll();
    for (const [question, answer] of answers) expect({ question, answer }).toEqual({ question, answer: alone.get(question) });
  });

  it('each field of each type that node finds is asked for', () => {
    const asked = questions.map(({ name }) => name.split('(', 1)[0]);
    const all = ['Session', 'Message', 'Agent', 'ApiKey'].flatMap(name => {
      const type = schema.getType(name);
      return type !== undefined && 'getFields' in type ? Object.keys(type.getFields()).map(field => `${name}.${field}`) : [];
    });
    expect(all.filter(field => !asked.includes(field))).toEqual([]);
  });
});
