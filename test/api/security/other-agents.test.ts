import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from './keys.ts';

const WORD = 'quokka';

let app: TestApp;
let admin: TestKey;
/** Bound to agent `a`. */
let key: TestKey;
/** Of agent `a`, below a session of agent `b`, and with one below it, which has one of agent `a` below it. */
let mine: { id: string; sessionId: string };
let theirs: { id: string; sessionId: string };
let grandchild: { id: string; sessionId: string };

interface Made {
  createSession: { session: { id: string; sessionId: string } };
}

async function make(input: Record<string, unknown>) {
  const answer = await app.gql<Made>(
    'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { id sessionId } } }',
    { input },
    { headers: admin.headers },
  );
  return answer.expectOk().createSession.session;
}

const append = (sessionId: string, content: string) =>
  app.gql(
    'mutation ($sessionId: ID!, $content: String!) { appendMessage(input: { sessionId: $sessionId, message: { role: USER, content: $content, usage: { inputTokens: 10 } } }) { message { id } } }',
    { sessionId, content },
    { headers: admin.headers },
  );

const ask = <Data>(query: string, variables: Record<string, unknown> = {}, { headers } = key) =>
  app.gql<Data>(query, variables, { headers });

beforeAll(async () => {
  const open = await startTestApp();
  app = open;
  admin = await makeKey(open, { scope: 'ADMIN' });
  key = await makeKey(open, { scope: 'ADMIN', agentIds: ['a'], by: admin.secret });
  theirs = await make({ agentId: 'b', key: 'plan', label: 'plan', title: `${WORD} of b` });
  mine = await make({ agentId: 'a', title: `${WORD} of a`, parentId: theirs.id });
  const child = await make({ agentId: 'b', title: `${WORD} child of b`, parentId: mine.id });
  grandchild = await make({ agentId: 'a', title: 'The grandchild', parentId: child.id });
  for (const { id } of [mine, theirs, child]) (await append(id, `The ${WORD} of ${id}`)).expectOk();
});

describe('a key of agent a', () => {
  it('lists, counts and searches what is of agent a', async () => {
    const { sessions, searchMessages, agents } = (
      await ask<Record<'sessions' | 'searchMessages' | 'agents', { totalCount: number; nodes: Record<string, unknown>[] }>>(
        `query ($word: String!) {
          sessions(filter: { search: $word }) { totalCount nodes { agentId } }
          searchMessages(query: $word) { totalCount nodes { session { agentId } } }
          agents { totalCount nodes { agentId sessionCount usage { totalTokens } } }
        }`,
        { word: WORD },
      )
    ).expectOk();
    expect(sessions).toEqual({ totalCount: 1, nodes: [{ agentId: 'a' }] });
    expect(searchMessages).toEqual({ totalCount: 1, nodes: [{ session: { agentId: 'a' } }] });
    expect(agents).toEqual({ totalCount: 1, nodes: [{ agentId: 'a', sessionCount: 2, usage: { totalTokens: 10 } }] });
  });

  it('finds neither the parent nor the children of its session that are of agent b, nor counts them', async () => {
    const answer = await ask(
      'query ($id: ID!) { session(id: $id) { parent { id } children { totalCount nodes { id } } usage(scope: TREE) { totalTokens } agent { sessions { totalCount } } } }',
      { id: mine.id },
    );
    expect(answer.expectOk()).toEqual({
      session: { parent: null, children: { totalCount: 0, nodes: [] }, usage: { totalTokens: 10 }, agent: { sessions: { totalCount: 2 } } },
    });
  });

  it('cannot tell that its session has a parent, or a descendant beyond a child, that is of agent b', async () => {
    (await append(grandchild.id, 'deep down')).expectOk();
    const FAMILY =
      'query ($id: ID!) { session(id: $id) { depth parent { id } usage(scope: TREE) { totalTokens } agent { sessions(filter: { root: true }) { totalCount } } } }';
    const family = (totalTokens: number) => ({
      session: { depth: 0, parent: null, usage: { totalTokens }, agent: { sessions: { totalCount: 2 } } },
    });
    expect((await ask(FAMILY, { id: mine.id })).expectOk()).toEqual(family(10));
    expect((await ask(FAMILY, { id: grandchild.id })).expectOk()).toEqual(family(10));
    expect((await ask(FAMILY, { id: grandchild.id }, admin)).expectOk()).toMatchObject({ session: { depth: 3 } });
    expect((await ask(FAMILY, { id: mine.id }, admin)).expectOk()).toMatchObject({ session: { depth: 1, usage: { totalTokens: 30 } } });
    for (const filter of [{ parentId: theirs.id }, { root: false }, { not: { root: true } }, { or: [{ parentId: theirs.sessionId }] }]) {
      const LISTS = `query ($filter: SessionFilter) {
        sessions(filter: $filter) { totalCount }
        searchMessages(query: "${WORD}", sessions: $filter) { totalCount }
        agents { nodes { sessions(filter: $filter) { totalCount } } }
      }`;
      const nothing = { totalCount: 0 };
      const answer = (await ask(LISTS, { filter })).expectOk();
      expect(answer).toEqual({ sessions: nothing, searchMessages: nothing, agents: { nodes: [{ sessions: nothing }] } });
    }
  });

  it('finds the children of its own sessions by their parent', async () => {
    const child = await make({ agentId: 'a', title: 'Own child', parentId: grandchild.id });
    const CHILDREN = 'query ($filter: SessionFilter) { sessions(filter: $filter) { nodes { id depth } } }';
    for (const filter of [{ parentId: grandchild.id }, { root: false }]) {
      expect((await ask(CHILDREN, { filter })).expectOk()).toEqual({ sessions: { nodes: [{ id: child.id, depth: 1 }] } });
    }
  });

  it('finds nothing by filters that name what is of agent b', async () => {
    for (const filter of [
      { agentId: { eq: 'b' } },
      { id: { in: [theirs.sessionId] } },
      { label: { eq: 'plan' } },
      { not: { agentId: { eq: 'a' } } },
      { key: { eq: 'agent:b:plan' } },
    ]) {
      const answer = await ask('query ($filter: SessionFilter) { sessions(filter: $filter) { totalCount nodes { id } } }', { filter });
      expect(answer.expectOk()).toEqual({ sessions: { totalCount: 0, nodes: [] } });
    }
  });

  it('gets no further by a cursor of a page that held what is of agent b', async () => {
    const LIST =
      'query ($after: String, $before: String) { sessions(first: 100, after: $after, before: $before) { edges { cursor node { agentId } } } }';
    const whole = (await ask<{ sessions: { edges: { cursor: string; node: { agentId: string } }[] } }>(LIST, {}, admin)).expectOk().sessions
      .edges;
    expect(new Set(whole.map(edge => edge.node.agentId))).toEqual(new Set(['a', 'b']));
    for (const { cursor } of whole) {
      for (const bound of [{ after: cursor }, { before: cursor }]) {
        const { sessions } = (await ask<{ sessions: { edges: { node: { agentId: string } }[] } }>(LIST, bound)).expectOk();
        expect(sessions.edges.filter(edge => edge.node.agentId !== 'a')).toEqual([]);
      }
    }
  });

  it('may use the same names, and neither create for agent b nor below its sessions', async () => {
    const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { created session { agentId key } } }';
    expect((await ask(CREATE, { input: { key: 'plan', label: 'plan', ifExists: 'RETURN' } })).expectOk()).toEqual({
      createSession: { created: true, session: { agentId: 'a', key: 'agent:a:plan' } },
    });
    (await ask(CREATE, { input: { agentId: 'b' } })).expectError('FORBIDDEN');
    (await ask(CREATE, { input: { key: 'agent:b:plan', ifExists: 'RETURN' } })).expectError('FORBIDDEN');
    const below = (await ask(CREATE, { input: { parentId: theirs.id } })).expectError('SESSION_NOT_FOUND');
    const nowhere = (await ask(CREATE, { input: { parentId: '01a1fc10-3f55-77df-984b-9c35f092922f' } })).expectError('SESSION_NOT_FOUND');
    expect(Object.keys(below.extensions.details)).toEqual(Object.keys(nowhere.extensions.details));
  });

  it.each(['ws', 'sse'] as const)('hears over %s of what happens to agent a only', async over => {
    const authorization = key.headers.authorization;
    const variables = { ids: [theirs.sessionId, mine.sessionId] };
    const documents = [
      'subscription { sessionEvents { agentId session { agentId parent { id } } } }',
      'subscription ($ids: [ID!]) { sessionEvents(filter: { sessionIds: $ids, includeDescendants: true }) { agentId session { agentId parent { id } } } }',
      'subscription { sessionEvents(filter: { agentIds: ["a", "b"] }) { agentId session { agentId parent { id } } } }',
    ];
    const streams = [];
    for (const document of documents) {
      const given = document.includes('$ids') ? variables : undefined;
      streams.push(await app.subscribe(document, given, { over, authorization }));
    }
    (await append(theirs.id, 'one')).expectOk();
    (await append(mine.id, 'two')).expectOk();
    for (const stream of streams) {
      expect(await stream.next()).toEqual({ sessionEvents: { agentId: 'a', session: { agentId: 'a', parent: null } } });
      await stream.close();
    }
    // Or one that closes late is taken for the next that opens.
    await expect.poll(() => app.app.events.gauges().subscriptions).toBe(0);
  });
});

describe('a key of several agents', () => {
  it('sees these, and creates for the default agent unless it names one', async () => {
    const several = await makeKey(app, { scope: 'WRITE', agentIds: ['a', 'b', 'main'], by: admin.secret });
    const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { agentId } } }';
    expect((await ask(CREATE, { input: {} }, several)).expectOk()).toEqual({ createSession: { session: { agentId: 'main' } } });
    expect((await ask('{ agents { nodes { agentId } } }', {}, several)).expectOk()).toEqual({
      agents: { nodes: [{ agentId: 'a' }, { agentId: 'b' }, { agentId: 'main' }] },
    });
  });
});
