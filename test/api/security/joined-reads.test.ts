import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from './keys.ts';

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
    const made = await app.gql<{ createSession: { session: { id: string } } }>(
      'mutation ($agentId: String!) { createSession(input: { agentId: $agentId, title: "secret" }) { session { id } } }',
      { agentId },
      { headers: admin.headers },
    );
    sessionIds[agentId] = made.expectOk().createSession.session.id;
  }
});

describe('requests under way together, which may share statements', () => {
  it('get what their own key lets them see, and nothing of what others are given', async () => {
    const query = `query ($a: ID!, $b: ID!) {
      a: session(id: $a) { agentId messages(first: 5) { totalCount } }
      b: session(id: $b) { agentId messages(first: 5) { totalCount } }
      sessions { totalCount nodes { agentId } }
    }`;
    const names = Array.from({ length: 90 }, (_, index) => ['a', 'all', 'b'][index % 3] ?? '');
    const answers = await Promise.all(names.map(name => app.gql<Seen>(query, sessionIds, { headers: keys[name]?.headers })));
    for (const [index, answer] of answers.entries()) {
      const visible = AGENTS.filter(agent => names[index] === 'all' || names[index] === agent);
      const seen = answer.expectOk();
      expect(AGENTS.filter(agent => seen[agent] !== null)).toEqual(visible);
      expect(seen.sessions.totalCount).toBe(visible.length);
      expect(seen.sessions.nodes.map(({ agentId }) => agentId).toSorted()).toEqual(visible);
    }
  });
});

interface Seen {
  readonly a: object | null;
  readonly b: object | null;
  readonly sessions: { readonly totalCount: number; readonly nodes: readonly { readonly agentId: string }[] };
}
