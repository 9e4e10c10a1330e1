import { beforeAll, describe, expect, it } from 'vitest';
import { createSchema } from '../../../src/schema.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { nodeFieldOperations, rootOperations, type Samples } from './generated-operations.ts';
import { makeKey, type TestKey } from './keys.ts';

/** A word in every text of agent `b`. */
const MARK = 'zebrafish';
/** A word in every text of both agents. */
const WORD = 'quagga';

interface CreatedSession {
  readonly id: string;
  readonly sessionId: string;
}

interface NamedQuery {
  readonly name: string;
  readonly document: string;
}

const schema = createSchema();

let app: TestApp;
let admin: TestKey;
/** Bound to agent `a`. The sessions of `a` and `b` alternate as parent and child. */
let key: TestKey;
let queries: readonly NamedQuery[];
/** Texts that may not occur in a response to the key of agent `a`. */
let traces: readonly string[];

async function createSessionWithMessage(
  agentId: 'a' | 'b',
  input: Record<string, unknown> = {},
): Promise<CreatedSession & { readonly messageId: string }> {
  const title = agentId === 'a' ? WORD : `${WORD} ${MARK}`;
  const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { id sessionId } } }';
  const created = await app.gql<{ createSession: { session: CreatedSession } }>(
    CREATE,
    { input: { agentId, title, task: title, ...input } },
    admin,
  );
  const { session } = created.expectOk().createSession;
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
  const above = await createSessionWithMessage('b', { key: 'plan', label: MARK });
  const mine = await createSessionWithMessage('a', { key: 'plan', parentId: above.id });
  const between = await createSessionWithMessage('b', { parentId: mine.id });
  const below = await createSessionWithMessage('a', { parentId: between.id });
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
  queries = [
    ...rootOperations(schema, samples)
      // serverInfo shows the clock, which differs between the two runs.
      .filter(({ type, field }) => type === 'query' && field !== 'serverInfo')
      .map(({ field, document }) => ({ name: field, document })),
    ...[...ofMine, ...ofBelow].map(({ type, field, document }) => ({ name: `${type}.${field}`, document })),
    ...filters.map(filter => ({
      name: `sessions by ${filter}`,
      document: `{ sessions(filter: ${filter}) { totalCount nodes { id depth } } searchMessages(query: "${WORD}", sessions: ${filter}) { totalCount } }`,
    })),
  ];
});

/** Sends all queries with the key of agent `a`. Returns the response by query. */
async function sendAll(): Promise<Map<string, string>> {
  const responses = new Map<string, string>();
  for (const { name, document } of queries) {
    const { data, errors } = await app.gql(document, undefined, key);
    const codes = errors?.map(error => error.extensions.code);
    // lastUsedAt of the key itself changes between the two runs.
    responses.set(`${name}: ${document}`, JSON.stringify({ data, codes }).replaceAll(/"lastUsedAt":[^,}]+/g, ''));
  }
  return responses;
}

describe('an ADMIN key bound to one agent', () => {
  it('gets the same response from every query field as if the sessions and keys of other agents did not exist', async () => {
    const responses = await sendAll();
    for (const [query, response] of responses) {
      expect({ query, traces: traces.filter(trace => response.includes(trace)) }).toEqual({ query, traces: [] });
      expect(response, query).not.toMatch(/"node":null|INTERNAL_SERVER_ERROR|GRAPHQL_VALIDATION_FAILED|QUERY_TOO_COMPLEX/);
    }
    await runSql(
      app.databaseUrl,
      `update aria_engine.chat_sessions set parent_id = null where parent_id in (select id from aria_engine.chat_sessions where agent_id = 'b');
       delete from aria_engine.chat_sessions where agent_id = 'b';
       delete from aria_engine.api_keys where agent_ids <> '{a}' or agent_ids is null`,
    );
    const withoutOthers = await sendAll();
    for (const [query, response] of responses) expect({ query, response }).toEqual({ query, response: withoutOthers.get(query) });
  });

  it('is tested with each field of each type that node returns', () => {
    const queried = queries.map(({ name }) => name.split('(', 1)[0]);
    const all = ['Session', 'Message', 'Agent', 'ApiKey'].flatMap(name => {
      const type = schema.getType(name);
      return type !== undefined && 'getFields' in type ? Object.keys(type.getFields()).map(field => `${name}.${field}`) : [];
    });
    expect(all.filter(field => !queried.includes(field))).toEqual([]);
  });
});
