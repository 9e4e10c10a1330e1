import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from '../security/keys.ts';

const AGENTS = ['a', 'b'] as const;

let app: TestApp;
let keys: Record<string, TestKey>;
let sessionIds: Record<string, string>;

beforeAll(async () => {
  app = await startTestApp();
  const admin = await makeKey(app, { scope: 'ADMIN' });
  keys = { all: admin };
  sessionIds = {};
  for (const agentId of AGENTS) {
    keys[agentId] = await makeKey(app, { scope: 'READ', agentIds: [agentId], by: admin.secret });
    const created = await app.gql<{ createSession: { session: { id: string } } }>(
      'mutation ($agentId: String!) { createSession(input: { agentId: $agentId, title: "secret" }) { session { id } } }',
      { agentId },
      { headers: admin.headers },
    );
    sessionIds[agentId] = created.expectOk().createSession.session.id;
  }
});

describe('concurrent requests, which may share SQL statements', () => {
  it('each return only what their own key may see', async () => {
    const query = `query ($a: ID!, $b: ID!) {
      a: session(id: $a) { agentId messages(first: 5) { totalCount } }
      b: session(id: $b) { agentId messages(first: 5) { totalCount } }
      sessions { totalCount nodes { agentId } }
    }`;
    const names = Array.from({ length: 90 }, (_, index) => ['a', 'all', 'b'][index % 3] ?? '');
    const answers = await Promise.all(names.map(name => app.gql<VisibleSessions>(query, sessionIds, { headers: keys[name]?.headers })));
    for (const [index, answer] of answers.entries()) {
      const visible = AGENTS.filter(agent => names[index] === 'all' || names[index] === agent);
      const shown = answer.expectOk();
      expect(AGENTS.filter(agent => shown[agent] !== null)).toEqual(visible);
      expect(shown.sessions.totalCount).toBe(visible.length);
      expect(shown.sessions.nodes.map(({ agentId }) => agentId).toSorted()).toEqual(visible);
    }
  });
});

describe('pages that one SQL statement reads', () => {
  it('each have their own order and cursors', async () => {
    const { headers = {} } = keys.all ?? {};
    for (const title of ['1', '2', '3', '4']) {
      (
        await app.gql(
          'mutation ($title: String!) { createSession(input: { title: $title, tags: ["ordered"] }) { created } }',
          { title },
          { headers },
        )
      ).expectOk();
    }
    const fields = 'nodes { title } pageInfo { hasNextPage hasPreviousPage startCursor } totalCount';
    const page = (direction: string, size: string) =>
      `{ sessions(filter: { tags: ["ordered"] }, orderBy: { field: TITLE, direction: ${direction} }, ${size}: 2) { ${fields} } }`;
    const queries = { first: page('ASC', 'first'), last: page('DESC', 'last') };
    const separate = { first: await app.gql(queries.first, {}, { headers }), last: await app.gql(queries.last, {}, { headers }) };
    expect(separate.first.expectOk()).toMatchObject({
      sessions: { nodes: [{ title: '1' }, { title: '2' }], pageInfo: { hasNextPage: true } },
    });
    expect(separate.last.expectOk()).toMatchObject({
      sessions: { nodes: [{ title: '2' }, { title: '1' }], pageInfo: { hasPreviousPage: true } },
    });
    const sizes = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 'first' : 'last'));
    const answers = await Promise.all(sizes.map(size => app.gql(queries[size], {}, { headers })));
    for (const [index, answer] of answers.entries()) expect(answer.expectOk()).toEqual(separate[sizes[index] ?? 'first'].expectOk());
  });
});

describe('concurrent reads of the messages of one session', () => {
  it('each return every message once', async () => {
    const { headers = {} } = keys.all ?? {};
    const messages = ['1', '2', '3'].map(content => ({ role: 'USER', content }));
    const append = 'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { __typename } }';
    (await app.gql(append, { input: { sessionId: sessionIds.a, messages } }, { headers })).expectOk();
    const query = `query ($id: ID!) { session(id: $id) {
      all: messages(first: 50) { nodes { content } pageInfo { hasNextPage } }
      few: messages(first: 3) { nodes { content } pageInfo { hasNextPage } }
      last: messages(last: 2) { nodes { content } pageInfo { hasPreviousPage } }
    } }`;
    const contents = (...each: string[]) => each.map(content => ({ content }));
    const session = {
      all: { nodes: contents('1', '2', '3'), pageInfo: { hasNextPage: false } },
      few: { nodes: contents('1', '2', '3'), pageInfo: { hasNextPage: false } },
      last: { nodes: contents('2', '3'), pageInfo: { hasPreviousPage: true } },
    };
    const answers = await Promise.all(Array.from({ length: 30 }, () => app.gql(query, { id: sessionIds.a }, { headers })));
    for (const answer of answers) expect(answer.expectOk()).toEqual({ session });
  });
});

describe('concurrent random queries', () => {
  /** Builds lists that differ slightly: in order, direction, filter or selected fields. */
  function randomQuery(random: RandomSource): string {
    const window = () => `${random.pick(['first', 'last'])}: ${random.integer(1, 3)}`;
    const order = () => `{ field: ${random.pick(['TITLE', 'CREATED_AT'])}, direction: ${random.pick(['ASC', 'DESC'])} }`;
    const info = 'pageInfo { hasNextPage hasPreviousPage startCursor endCursor }';
    const messages = () =>
      `messages(${window()}${random.chance(0.3) ? ', filter: { roles: [USER] }' : ''}) { nodes { position ${random.pick(['content', 'role'])} } ${info} }`;
    const session = () => `title ${random.pick(['status', 'version', 'tags'])} ${random.chance(0.5) ? messages() : ''}`;
    const filter = () => random.pick(['', '', ', filter: {}', ', filter: { tags: ["ordered"] }', ', filter: { agentId: { eq: "a" } }']);
    const list = () => `sessions(orderBy: ${order()}, ${window()}${filter()}) { nodes { ${session()} } ${info} totalCount }`;
    const one = () => `session(id: "${random.pick([sessionIds.a, sessionIds.b])}") { ${session()} }`;
    return `{ a: ${random.pick([list, one])()} b: ${list()} c: ${one()} }`;
  }

  it('return the same responses as the same queries sent one after another', async () => {
    const random = createRandomSource(7, 0);
    const requests = Array.from({ length: 60 }, () => ({
      query: randomQuery(random),
      headers: keys[random.pick(['all', 'a', 'b'])]?.headers,
    }));
    const send = ({ query, headers }: (typeof requests)[number]) => app.gql(query, {}, { headers });
    const separate: unknown[] = [];
    for (const request of requests) separate.push((await send(request)).expectOk());
    for (let round = 0; round < 5; round += 1) {
      const answers = await Promise.all(requests.map(send));
      for (const [index, answer] of answers.entries()) expect(answer.expectOk(), requests[index]?.query).toEqual(separate[index]);
    }
  });
});

interface VisibleSessions {
  readonly a: object | null;
  readonly b: object | null;
  readonly sessions: { readonly totalCount: number; readonly nodes: readonly { readonly agentId: string }[] };
}
