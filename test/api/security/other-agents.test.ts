import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from './keys.ts';

const WORD = 'quokka';

let app: TestApp;
let admin: TestKey;
/** Bound to agent `a`. */
let key: TestKey;
interface CreatedSession {
  readonly id: string;
  readonly sessionId: string;
}

// Each session is the parent of the next: `theirs` (agent b), `mine` (agent a), a child (agent b), `grandchild` (agent a).
let theirs: CreatedSession;
let mine: CreatedSession;
let grandchild: CreatedSession;

async function createSession(input: Record<string, unknown>) {
  const answer = await app.gql<{ createSession: { session: CreatedSession } }>(
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

const send = <Data>(query: string, variables: Record<string, unknown> = {}, { headers } = key) =>
  app.gql<Data>(query, variables, { headers });

beforeAll(async () => {
  const open = await startTestApp();
  app = open;
  admin = await makeKey(open, { scope: 'ADMIN' });
  key = await makeKey(open, { scope: 'ADMIN', agentIds: ['a'], by: admin.secret });
  theirs = await createSession({ agentId: 'b', key: 'plan', label: 'plan', title: `${WORD} of b` });
  mine = await createSession({ agentId: 'a', title: `${WORD} of a`, parentId: theirs.id });
  const child = await createSession({ agentId: 'b', title: `${WORD} child of b`, parentId: mine.id });
  grandchild = await createSession({ agentId: 'a', title: 'The grandchild', parentId: child.id });
  for (const { id } of [mine, theirs, child]) (await append(id, `The ${WORD} of ${id}`)).expectOk();
});

describe('a key bound to agent a', () => {
  it('lists, counts and searches only sessions of agent a', async () => {
    const { sessions, searchMessages, agents } = (
      await send<Record<'sessions' | 'searchMessages' | 'agents', { totalCount: number; nodes: Record<string, unknown>[] }>>(
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

  it('sees and counts neither the parent nor the children of its session if they belong to agent b', async () => {
    const answer = await send(
      'query ($id: ID!) { session(id: $id) { parent { id } children { totalCount nodes { id } } usage(scope: TREE) { totalTokens } agent { sessions { totalCount } } } }',
      { id: mine.id },
    );
    expect(answer.expectOk()).toEqual({
      session: { parent: null, children: { totalCount: 0, nodes: [] }, usage: { totalTokens: 10 }, agent: { sessions: { totalCount: 2 } } },
    });
  });

  it('sees no sign of a parent of agent b, or of descendants below a session of agent b', async () => {
    (await append(grandchild.id, 'deep down')).expectOk();
    const FAMILY =
      'query ($id: ID!) { session(id: $id) { depth parent { id } usage(scope: TREE) { totalTokens } agent { sessions(filter: { root: true }) { totalCount } } } }';
    const family = (totalTokens: number) => ({
      session: { depth: 0, parent: null, usage: { totalTokens }, agent: { sessions: { totalCount: 2 } } },
    });
    expect((await send(FAMILY, { id: mine.id })).expectOk()).toEqual(family(10));
    expect((await send(FAMILY, { id: grandchild.id })).expectOk()).toEqual(family(10));
    expect((await send(FAMILY, { id: grandchild.id }, admin)).expectOk()).toMatchObject({ session: { depth: 3 } });
    expect((await send(FAMILY, { id: mine.id }, admin)).expectOk()).toMatchObject({ session: { depth: 1, usage: { totalTokens: 30 } } });
    for (const filter of [{ parentId: theirs.id }, { root: false }, { not: { root: true } }, { or: [{ parentId: theirs.sessionId }] }]) {
      const LISTS = `query ($filter: SessionFilter) {
        sessions(filter: $filter) { totalCount }
        searchMessages(query: "${WORD}", sessions: $filter) { totalCount }
        agents { nodes { sessions(filter: $filter) { totalCount } } }
      }`;
      const nothing = { totalCount: 0 };
      const answer = (await send(LISTS, { filter })).expectOk();
      expect(answer).toEqual({ sessions: nothing, searchMessages: nothing, agents: { nodes: [{ sessions: nothing }] } });
    }
  });

  it('filters its own sessions by parentId and root', async () => {
    const child = await createSession({ agentId: 'a', title: 'Own child', parentId: grandchild.id });
    const CHILDREN = 'query ($filter: SessionFilter) { sessions(filter: $filter) { nodes { id depth } } }';
    for (const filter of [{ parentId: grandchild.id }, { root: false }]) {
      expect((await send(CHILDREN, { filter })).expectOk()).toEqual({ sessions: { nodes: [{ id: child.id, depth: 1 }] } });
    }
  });

  it('finds nothing with filters that match sessions of agent b', async () => {
    for (const filter of [
      { agentId: { eq: 'b' } },
      { id: { in: [theirs.sessionId] } },
      { label: { eq: 'plan' } },
      { not: { agentId: { eq: 'a' } } },
      { key: { eq: 'agent:b:plan' } },
    ]) {
      const answer = await send('query ($filter: SessionFilter) { sessions(filter: $filter) { totalCount nodes { id } } }', { filter });
      expect(answer.expectOk()).toEqual({ sessions: { totalCount: 0, nodes: [] } });
    }
  });

  it('sees no session of agent b after or before a cursor of another viewer', async () => {
    const LIST =
      'query ($after: String, $before: String) { sessions(first: 100, after: $after, before: $before) { edges { cursor node { agentId } } } }';
    const edges = (await send<{ sessions: { edges: { cursor: string; node: { agentId: string } }[] } }>(LIST, {}, admin)).expectOk()
      .sessions.edges;
    expect(new Set(edges.map(edge => edge.node.agentId))).toEqual(new Set(['a', 'b']));
    for (const { cursor } of edges) {
      for (const bound of [{ after: cursor }, { before: cursor }]) {
        const { sessions } = (await send<{ sessions: { edges: { node: { agentId: string } }[] } }>(LIST, bound)).expectOk();
        expect(sessions.edges.filter(edge => edge.node.agentId !== 'a')).toEqual([]);
      }
    }
  });

  it('may use key and label of a session of agent b, but may not create sessions for agent b or below its sessions', async () => {
    const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { created session { agentId key } } }';
    expect((await send(CREATE, { input: { key: 'plan', label: 'plan', ifExists: 'RETURN' } })).expectOk()).toEqual({
      createSession: { created: true, session: { agentId: 'a', key: 'agent:a:plan' } },
    });
    (await send(CREATE, { input: { agentId: 'b' } })).expectError('FORBIDDEN');
    (await send(CREATE, { input: { key: 'agent:b:plan', ifExists: 'RETURN' } })).expectError('FORBIDDEN');
    const invisibleParent = (await send(CREATE, { input: { parentId: theirs.id } })).expectError('SESSION_NOT_FOUND');
    const unknownParent = (await send(CREATE, { input: { parentId: '01a1fc10-3f55-77df-984b-9c35f092922f' } })).expectError(
      'SESSION_NOT_FOUND',
    );
    expect(Object.keys(invisibleParent.extensions.details)).toEqual(Object.keys(unknownParent.extensions.details));
  });

  it.each(['ws', 'sse'] as const)('receives only events of agent a over %s', async over => {
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
    // Wait until the streams are closed. The next run would count one that closes late as its own.
    await expect.poll(() => app.app.events.gauges().subscriptions).toBe(0);
  });
});

describe('a key bound to several agents', () => {
  it('sees these agents and creates sessions for the default agent if the input names none', async () => {
    const several = await makeKey(app, { scope: 'WRITE', agentIds: ['a', 'b', 'main'], by: admin.secret });
    const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { agentId } } }';
    expect((await send(CREATE, { input: {} }, several)).expectOk()).toEqual({ createSession: { session: { agentId: 'main' } } });
    expect((await send('{ agents { nodes { agentId } } }', {}, several)).expectOk()).toEqual({
      agents: { nodes: [{ agentId: 'a' }, { agentId: 'b' }, { agentId: 'main' }] },
    });
  });
});
