import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { randomFilter, randomSessions } from './random-sessions.ts';
import { type FilterInput, selectSessions } from './reference-filter.ts';
import { clearSessions, type StoredSession, storeSessions } from './stored-session.ts';

const SEEDS = [1, 2, 3, 4];
/** No more than one page takes. */
const SESSIONS = 90;
const FILTERS = 60;

const LISTS = /* GraphQL */ `
  query Lists($filter: SessionFilter!) {
    sessions(first: 100, filter: $filter) { totalCount nodes { sessionId } }
    agent(agentId: "coder") { sessions(first: 100, filter: $filter) { totalCount nodes { sessionId } } }
  }
`;

interface Listed {
  readonly totalCount: number;
  readonly nodes: readonly { readonly sessionId: string }[];
}

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

const sorted = (ids: readonly string[]) => ids.toSorted();

async function expectAsReference(sessions: readonly StoredSession[], filter: FilterInput): Promise<number> {
  const data = (await app.gql<{ sessions: Listed; agent: { sessions: Listed } | null }>(LISTS, { filter })).expectOk();
  const expected = selectSessions(sessions, filter);
  const told = JSON.stringify(filter);
  for (const [list, wanted] of [
    [data.sessions, expected],
    [data.agent?.sessions, expected.filter(session => session.agentId === 'coder')],
  ] as const) {
    expect(sorted(list?.nodes.map(node => node.sessionId) ?? []), told).toEqual(sorted(wanted.map(session => session.id)));
    expect(list?.totalCount, told).toBe(wanted.length);
  }
  return expected.length;
}

describe('random filters on random sessions', () => {
  it.each(SEEDS)('select what the reference evaluator selects (seed %i)', async seed => {
    const random = createRandomSource(seed, 1);
    const sessions = randomSessions(random, SESSIONS);
    await clearSessions(app.databaseUrl);
    await storeSessions(app.databaseUrl, sessions);
    const sizes: number[] = [];
    for (let index = 0; index < FILTERS; index += 1)
      sizes.push(await expectAsReference(sessions, randomFilter(random, sessions, index % 4)));
    // Filters that select all or nothing would show little.
    expect(sizes.filter(size => size > 0 && size < SESSIONS / 2).length).toBeGreaterThan(FILTERS / 4);
  });
});
