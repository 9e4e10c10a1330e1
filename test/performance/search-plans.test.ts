import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storedSession, storeSessions } from '../api/session-filter/stored-session.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { runSql } from '../support/sql.ts';
import { explain, explainGeneric, type QueryPlan } from './query-plan.ts';

const SESSIONS = 600;
const MESSAGES = 20;
/** The newest sessions. They contain no `burst`. */
const QUIET = 20;
const START = Date.UTC(2026, 0, 1);

let app: TestApp;
let client: pg.Client;

beforeAll(async () => {
  app = await startTestApp();
  const sessions = Array.from({ length: SESSIONS }, (_, index) => {
    const isBurst = index < SESSIONS - QUIET && index % 2 === 0;
    return storedSession({
      title: index === 10 ? 'Rarity' : `Session ${index}`,
      createdAt: new Date(START + index * 60_000),
      messages: Array.from({ length: MESSAGES }, (_, position) =>
        [
          'message',
          position,
          'everywhere',
          isBurst ? 'burst' : '',
          index % 250 === 3 && position === 5 ? 'rarity' : '',
          isBurst && index % 4 === 0 && position === 3 ? 'seldom' : '',
        ].join(' '),
      ),
    });
  });
  await storeSessions(app.databaseUrl, sessions);
  await runSql(app.databaseUrl, 'vacuum analyze');
  client = new pg.Client(app.databaseUrl);
  await client.connect();
}, 120_000);

afterAll(() => client?.end());

/** Runs an operation and returns the plans of its statements, each also as prepared statements may be planned. */
async function plansOf(
  query: string,
  variables: Record<string, unknown>,
): Promise<{ readonly plans: QueryPlan[]; readonly found: number }> {
  const response = await app.gql<{ list: { nodes: unknown[] } }>(query, variables);
  const { nodes } = response.expectOk().list;
  const plans: QueryPlan[] = [];
  for (const statement of response.sql.filter(({ sql }) => !sql.startsWith('explain'))) {
    plans.push(await explain(client, statement), await explainGeneric(client, statement));
  }
  return { plans, found: nodes.length };
}

const MESSAGE_SEARCH = `query($term: String!, $mode: SearchMode) { list: searchMessages(query: $term, mode: $mode, first: 20) { nodes { content } } }`;
const SESSION_SEARCH = `query($term: String!) { list: sessions(first: 20, filter: { search: $term }) { nodes { id } } }`;

describe.each(['WORDS', 'SUBSTRING'])('searchMessages in %s mode', mode => {
  it.each([
    ['in every message', 'everywhere', 20, 100],
    ['in many messages, but not in the newest', 'burst', 20, 300 + QUIET * MESSAGES + 300],
    ['in 145 old messages', 'seldom', 20, 310],
    ['in three old messages', 'rarity', 3, 310],
    ['in no message', 'xylophone', 0, 300],
  ])('reads few rows for a term %s', async (_, term, expectedCount, maxRows) => {
    const { plans, found } = await plansOf(MESSAGE_SEARCH, { term, mode });
    expect(found).toBe(expectedCount);
    for (const plan of plans) expect(plan.rowsRead, plan.nodes.join(' | ')).toBeLessThanOrEqual(maxRows);
  });
});

describe('sessions with a search filter', () => {
  it.each([
    ['in every session', 'everywhere', 20, 300],
    ['in many sessions, but not in the newest', 'burst', 20, 4_000],
    ['in three old messages and the title of an old session', 'rarity', 4, 1_200],
    ['in no session', 'xylophone', 0, 1_200],
  ])('read few rows for a term %s', async (_, term, expectedCount, maxRows) => {
    const { plans, found } = await plansOf(SESSION_SEARCH, { term });
    expect(found).toBe(expectedCount);
    for (const plan of plans) expect(plan.rowsRead, plan.nodes.join(' | ')).toBeLessThanOrEqual(maxRows);
  });
});
