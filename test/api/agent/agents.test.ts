import { beforeEach, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { clearSessions, type StoredSession, storedSession, storeSessions } from '../session-filter/stored-session.ts';

const app: TestApp = await startTestApp();

beforeEach(() => clearSessions(app.databaseUrl));

const store = (...sessions: readonly Partial<StoredSession>[]) => storeSessions(app.databaseUrl, sessions.map(storedSession));
const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));

const AGENTS = '{ agents { totalCount nodes { agentId sessionCount openSessionCount lastActivityAt usage { totalTokens } } } }';

describe('agents', () => {
  it('returns agents that have a listed session, ordered by id, with counts, last activity and usage', async () => {
    await store(
      { agentId: 'ops', status: 'ACTIVE', totalTokens: 5, lastActivityAt: at(1) },
      { agentId: 'ops', status: 'STALLED', totalTokens: 2 ** 40, lastActivityAt: at(3) },
      { agentId: 'ops', status: 'FAILED', lastActivityAt: at(2) },
      { agentId: 'ops', status: 'ACTIVE', totalTokens: 1, lastActivityAt: at(9), deletedAt: at(9) },
      { agentId: 'ops', status: 'ACTIVE', totalTokens: 1, lastActivityAt: at(9), supersededAt: at(9) },
      { agentId: 'coder', status: 'ENDED', archivedAt: at(1), lastActivityAt: at(4) },
      { agentId: 'trashed', deletedAt: at(1) },
      { agentId: 'superseded', supersededAt: at(1) },
    );
    const response = await app.gql(AGENTS);
    expect(response.expectOk()).toEqual({
      agents: {
        totalCount: 2,
        nodes: [
          { agentId: 'coder', sessionCount: 1, openSessionCount: 0, lastActivityAt: at(4).toISOString(), usage: { totalTokens: 0 } },
          {
            agentId: 'ops',
            sessionCount: 3,
            openSessionCount: 2,
            lastActivityAt: at(3).toISOString(),
            usage: { totalTokens: 2 ** 40 + 5 },
          },
        ],
      },
    });
    expect(response.sql).toHaveLength(3);
  });

  it('returns no agents when there are no sessions', async () => {
    expect((await app.gql(AGENTS)).expectOk()).toEqual({ agents: { totalCount: 0, nodes: [] } });
  });

  it('includes an agent when its first session is created, drops it on deletion and includes it again on restore', async () => {
    const { createSession } = (
      await app.gql<{ createSession: { session: { sessionId: string } } }>(
        'mutation { createSession(input: { agentId: "fresh" }) { session { sessionId } } }',
      )
    ).expectOk();
    const { sessionId: id } = createSession.session;
    const listAgents = async () =>
      (await app.gql<{ agents: { nodes: { agentId: string }[] } }>('{ agents { nodes { agentId } } }')).expectOk().agents.nodes;
    expect(await listAgents()).toEqual([{ agentId: 'fresh' }]);
    (await app.gql('mutation($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }', { id })).expectOk();
    expect(await listAgents()).toEqual([]);
    (await app.gql('mutation($id: ID!) { restoreSession(input: { id: $id }) { session { id } } }', { id })).expectOk();
    expect(await listAgents()).toEqual([{ agentId: 'fresh' }]);
  });
});

describe('agent(agentId)', () => {
  const AGENT = 'query($agentId: String!) { agent(agentId: $agentId) { agentId sessions { totalCount nodes { title } } } }';

  it('normalizes the id and returns null if the agent has no listed session', async () => {
    await store({ agentId: 'coder', title: 'a' }, { agentId: 'gone', deletedAt: at(1) });
    for (const agentId of ['coder', ' Coder ', 'CODER']) {
      expect((await app.gql(AGENT, { agentId })).expectOk()).toEqual({
        agent: { agentId: 'coder', sessions: { totalCount: 1, nodes: [{ title: 'a' }] } },
      });
    }
    for (const agentId of ['gone', 'nobody', 'a\0b', '\ud800', 'x'.repeat(10_000)]) {
      expect((await app.gql(AGENT, { agentId })).expectOk()).toEqual({ agent: null });
    }
  });
});

describe('Agent.sessions', () => {
  it('lists only the sessions of the agent and applies filter and orderBy', async () => {
    await store(
      { agentId: 'coder', title: 'a', lastActivityAt: at(1) },
      { agentId: 'coder', title: 'b', lastActivityAt: at(2) },
      { agentId: 'coder', title: 'c', deletedAt: at(1) },
      { agentId: 'ops', title: 'd' },
    );
    const titles = async (args: string) => {
      const data = (
        await app.gql<{ agent: { sessions: { totalCount: number; nodes: { title: string }[] } } }>(
          `{ agent(agentId: "coder") { sessions${args} { totalCount nodes { title } } } }`,
        )
      ).expectOk();
      expect(data.agent.sessions.totalCount).toBe(data.agent.sessions.nodes.length);
      return data.agent.sessions.nodes.map(node => node.title);
    };
    expect(await titles('')).toEqual(['b', 'a']);
    expect(await titles('(orderBy: { field: TITLE, direction: ASC })')).toEqual(['a', 'b']);
    expect(await titles('(filter: { title: { eq: "a" } })')).toEqual(['a']);
    expect(await titles('(filter: { trashed: true })')).toEqual(['c']);
    expect(await titles('(filter: { agentId: { eq: "ops" } })')).toEqual([]);
    expect(await titles('(filter: { or: [{ agentId: { eq: "ops" } }, { title: { eq: "b" } }] })')).toEqual(['b']);
  });
});

describe('Session.agent', () => {
  it('returns the agent with zero counts when its only session is in the trash', async () => {
    const session = storedSession({ agentId: 'gone', deletedAt: at(1) });
    await storeSessions(app.databaseUrl, [session]);
    const query =
      'query($id: ID!) { session(id: $id) { agent { agentId sessionCount openSessionCount lastActivityAt usage { totalTokens costUsd } sessions { nodes { id } } } } }';
    expect((await app.gql(query, { id: session.id })).expectOk()).toEqual({
      session: {
        agent: {
          agentId: 'gone',
          sessionCount: 0,
          openSessionCount: 0,
          lastActivityAt: null,
          usage: { totalTokens: 0, costUsd: 0 },
          sessions: { nodes: [] },
        },
      },
    });
  });
});
