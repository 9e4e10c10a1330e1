import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storedSession, storeSessions } from '../api/session-filter/stored-session.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { runSql } from '../support/sql.ts';
import { explain, explainGeneric, type QueryPlan } from './query-plan.ts';

const SESSIONS = 3_000;
const PAGE = 20;
/** A page reads two tables, may skip rows of other states, and reads one row more to know whether another page follows. */
const PAGE_ROWS = 4 * (PAGE + 1);
const START = Date.UTC(2026, 0, 1);

let app: TestApp;
let client: pg.Client;

beforeAll(async () => {
  app = await startTestApp();
  const sessions = Array.from({ length: SESSIONS }, (_, index) => {
    const createdAt = new Date(START + index * 60_000);
    const hasEnded = index % 5 !== 0;
    return storedSession({
      createdAt,
      lastActivityAt: createdAt,
      updatedAt: new Date(START + ((index * 7) % SESSIONS) * 60_000),
      totalTokens: (index * 11) % SESSIONS,
      priority: index % 20 === 0 ? 'HIGH' : 'NORMAL',
      status: hasEnded ? 'COMPLETED' : 'ACTIVE',
      endedAt: hasEnded ? createdAt : null,
      task: index === 5 ? 'Find the okapi' : 'Count the sessions '.repeat(20),
      label: index === 6 ? 'The quagga' : null,
    });
  });
  await storeSessions(app.databaseUrl, sessions);
  await runSql(app.databaseUrl, 'vacuum analyze');
  client = new pg.Client(app.databaseUrl);
  await client.connect();
}, 120_000);

afterAll(() => client?.end());

const PAGE_QUERY = `query($order: [SessionOrder!], $filter: SessionFilter, $after: String) {
  sessions(first: ${PAGE}, orderBy: $order, filter: $filter, after: $after) { nodes { id title messageCount } pageInfo { endCursor } } }`;

interface SessionsPage {
  readonly sessions: { readonly nodes: readonly unknown[]; readonly pageInfo: { readonly endCursor: string } };
}

/** Runs the query of a page, and returns its cursor and the plans of its statements, each also as prepared statements may be planned. */
async function readPage(variables: Record<string, unknown>) {
  const response = await app.gql<SessionsPage>(PAGE_QUERY, variables);
  const { sessions } = response.expectOk();
  const plans: QueryPlan[] = [];
  for (const statement of response.sql.filter(({ sql }) => !sql.startsWith('explain'))) {
    plans.push(await explain(client, statement), await explainGeneric(client, statement));
  }
  return { plans, found: sessions.nodes.length, cursor: sessions.pageInfo.endCursor };
}

/** Reads the first page, and the one behind ten others. */
async function readFirstAndDeep(variables: Record<string, unknown>) {
  const first = await readPage(variables);
  let after = first.cursor;
  for (let page = 1; page < 10; page += 1) {
    after = (await app.gql<SessionsPage>(PAGE_QUERY, { ...variables, after })).expectOk().sessions.pageInfo.endCursor;
  }
  return [...first.plans, ...(await readPage({ ...variables, after })).plans];
}

function expectRowsRead(plans: readonly QueryPlan[], maxRows: number): void {
  expect(plans).not.toEqual([]);
  for (const plan of plans) expect(plan.rowsRead, plan.nodes.join(' | ')).toBeLessThanOrEqual(maxRows);
}

describe('a page of sessions', () => {
  it.each(['CREATED_AT', 'STARTED_AT', 'LAST_ACTIVITY_AT', 'ENDED_AT', 'TITLE', 'PRIORITY'])(
    'ordered by %s reads only its rows, at any depth',
    async field => {
      expectRowsRead(await readFirstAndDeep({ order: [{ field }] }), PAGE_ROWS);
      expectRowsRead(await readFirstAndDeep({ order: [{ field, direction: 'ASC' }] }), PAGE_ROWS);
    },
  );

  it.each(['UPDATED_AT', 'MESSAGE_COUNT', 'TOTAL_TOKENS'])(
    'ordered by %s, which has no index, reads all rows of one table only',
    async field => {
      expectRowsRead(await readFirstAndDeep({ order: [{ field }] }), SESSIONS + PAGE_ROWS);
    },
  );

  it.each([
    ['COMPLETED', 'DESC'],
    ['ACTIVE', 'ASC'],
  ])('with the status %s, ordered by ENDED_AT %s, reads only its rows', async (status, direction) => {
    const filter = { status: { eq: status } };
    expectRowsRead(await readFirstAndDeep({ order: [{ field: 'ENDED_AT', direction }], filter }), PAGE_ROWS);
  });

  it.each(['okapi', 'QUAGGA'])(
    'with a search for %s, which is in the text of one old session, does not read all sessions',
    async search => {
      const { plans, found } = await readPage({ filter: { search } });
      expect(found).toBe(1);
      expectRowsRead(plans, SESSIONS / 2);
    },
  );

  it('with a search for a line break that lies between two texts of a session finds nothing', async () => {
    const { found } = await readPage({ filter: { search: 'main\nFind the okapi' } });
    expect(found).toBe(0);
  });
});
