import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { randomFilter, randomSessions } from './random-sessions.ts';
import { type FilterInput, selectSessions } from './reference-filter.ts';
import { clearSessions, type StoredSession, storeSessions } from './stored-session.ts';

const SEEDS = [1, 2, 3, 4];
/** Fits in one page. */
const SESSIONS = 90;
const FILTERS = 60;

const LISTS = /* GraphQL */ `
  query Lists($filter: SessionFilter!) {
    sessions(first: 100, filter: $filter) { totalCount nodes { sessionId } }
    agent(agentId: "coder") { sessions(first: 100, filter: $filter) { totalCount nodes { sessionId } } }
  }
`;

interface SessionPage {
  readonly totalCount: number;
  readonly nodes: readonly { readonly sessionId: string }[];
}

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

const sorted = (ids: readonly string[]) => ids.toSorted();

/** Compares the server's result with the reference implementation. Returns the number of matching sessions. */
async function expectReferenceResult(sessions: readonly StoredSession[], filter: FilterInput): Promise<number> {
  const data = (await app.gql<{ sessions: SessionPage; agent: { sessions: SessionPage } | null }>(LISTS, { filter })).expectOk();
  const expected = selectSessions(sessions, filter);
  const filterText = JSON.stringify(filter);
  for (const [list, expectedSessions] of [
    [data.sessions, expected],
    [data.agent?.sessions, expected.filter(session => session.agentId === 'coder')],
  ] as const) {
    expect(sorted(list?.nodes.map(node => node.sessionId) ?? []), filterText).toEqual(sorted(expectedSessions.map(session => session.id)));
    expect(list?.totalCount, filterText).toBe(expectedSessions.length);
  }
  return expected.length;
}

describe('random filters on random sessions', () => {
  it.each(SEEDS)('match the same sessions as the reference implementation (seed %i)', async seed => {
    const random = createRandomSource(seed, 1);
    const sessions = randomSessions(random, SESSIONS);
    await clearSessions(app.databaseUrl);
    await storeSessions(app.databaseUrl, sessions);
    // Filters that match all or no sessions prove little, so the test goes on until enough others have been compared.
    let informative = 0;
    for (let index = 0; index < FILTERS || informative <= FILTERS / 4; index += 1) {
      expect(index, 'number of random filters').toBeLessThan(10 * FILTERS);
      const size = await expectReferenceResult(sessions, randomFilter(random, sessions, index % 4));
      if (size > 0 && size < SESSIONS / 2) informative += 1;
    }
  });
});
