import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions } from '../../scripts/seed/session-generator.ts';
import { encodeEventCursor } from '../../src/events/event-cursor.ts';
import { PREPARED, type RecordedStatement } from '../../src/postgres/database.ts';
import { createSchema } from '../../src/schema.ts';
import { stallSessions } from '../../src/sweeper/tasks/stall-sessions.ts';
import { leafSelection } from '../performance/leaf-selection.ts';
import { explain, explainGeneric, type QueryPlan } from '../performance/query-plan.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

const SESSIONS = 20_000;
const MESSAGES = 50;
/** The number of messages of the longest session. */
const LONGEST = 100_000;
/** Spread over nine days. */
const EVENTS = 200_000;
const PAGE = 20;
/** The rows of a page and one more, which tells whether there is a next page. */
const PAGE_ROWS = PAGE + 1;
const KEYS = { defaultAgent: 'main', mainKey: 'main' };

const schema = createSchema();

let app: TestApp;
let client: pg.Client;

beforeAll(async () => {
  app = await startTestApp();
  client = new pg.Client(app.databaseUrl);
  await client.connect();
  await client.query(`set timezone = 'UTC'`);
  const until = new Date('2026-11-20T12:00:00.000Z');
  await writeSessions(client, generateSessions({ sessions: SESSIONS, messages: MESSAGES, seed: 1, until, keys: KEYS }), KEYS);
  // One session of the first page gets many more messages than the others.
  await client.query(
    `insert into aria_engine.chat_messages (session_id, position, id, role, content, created_at)
     select a.session_id, n, gen_random_uuid(), (case when n % 2 = 0 then 'USER' else 'ASSISTANT' end)::aria_engine.message_role, 'message ' || n, a.last_activity_at
     from (select session_id, last_activity_at from aria_engine.chat_session_activity where listed order by last_activity_at desc, session_id desc offset 5 limit 1) a,
       generate_series($1::int, $2::int) n`,
    [MESSAGES + 1, LONGEST],
  );
  // Every fourth event belongs to one session.
  await client.query(
    `with ids as (select array_agg(id order by id) as ids from aria_engine.chat_sessions)
     insert into aria_engine.session_events (occurred_at, seq, session_id, agent_id, type, payload)
     select now() + interval '9 days' * n / $1, n, ids[case when n % 4 = 0 then 1 else 1 + n * 7919 % cardinality(ids) end], 'main', 'UPDATED', '{"changed":["title"]}'
     from ids, generate_series(1::bigint, $1) n`,
    [EVENTS],
  );
  await client.query('update aria_engine.event_log_state set last_seq = $1', [EVENTS]);
  await client.query(
    'vacuum (analyze) aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages, aria_engine.session_events',
  );
}, 600_000);

afterAll(() => client?.end());

interface Explained {
  readonly statement: RecordedStatement;
  readonly plan: QueryPlan;
}

/** Runs an operation and returns the plans of its statements, other than those that are EXPLAIN themselves. A named prepared statement has its generic plan too. */
async function plansOf(query: string, variables?: Record<string, unknown>): Promise<Explained[]> {
  const response = await app.gql(query, variables);
  response.expectOk();
  const plans: Explained[] = [];
  for (const statement of response.sql.filter(({ sql }) => !sql.startsWith('explain'))) {
    plans.push({ statement, plan: await explain(client, statement) });
    if (statement.sql.startsWith(PREPARED)) plans.push({ statement, plan: await explainGeneric(client, statement) });
  }
  return plans;
}

function expectRowsRead(plans: readonly Explained[], maxRows: number): void {
  expect(plans.length).toBeGreaterThan(0);
  for (const { statement, plan } of plans) {
    expect(plan.rowsRead, `${statement.sql}\n${plan.nodes.join(' | ')}\n${JSON.stringify(plan)}`).toBeLessThanOrEqual(maxRows);
  }
}

/** Returns the cursor of the item at this depth of the list. */
async function cursorAt(depth: number, orderBy: string): Promise<string> {
  let after: string | null = null;
  for (let read = 0; read < depth; read += 100) {
    const query = `query($after: String) { sessions(first: 100, after: $after, orderBy: ${orderBy}) { pageInfo { endCursor } } }`;
    const page: { sessions: { pageInfo: { endCursor: string } } } = (
      await app.gql<{ sessions: { pageInfo: { endCursor: string } } }>(query, { after })
    ).expectOk();
    after = page.sessions.pageInfo.endCursor;
  }
  return after ?? '';
}

describe(`at ${SESSIONS} sessions and ${SESSIONS * MESSAGES} messages`, () => {
  it('a page with messages, last messages and parents reads only rows that it returns, even with the longest session on it', async () => {
    const scalars = [leafSelection(schema, 'Session'), leafSelection(schema, 'Message')];
    const plans = await plansOf(
      `{ sessions(first: ${PAGE}) { nodes { ${scalars[0]} lastMessage { ${scalars[1]} } parent { ${scalars[0]} }
        messages(first: 10) { nodes { ${scalars[1]} parts { type } } } newest: messages(last: 10) { nodes { id } } all: messages(first: 10, branch: ALL) { nodes { id } } } } }`,
    );
    expectRowsRead(plans, PAGE * 12);
  });

  it('a page of messages that is larger than most sessions reads only rows that it returns', async () => {
    for (const list of ['first: 500', 'last: 200', 'first: 100, branch: ALL', 'last: 500, branch: ALL']) {
      expectRowsRead(await plansOf(`{ sessions(first: 10) { nodes { messages(${list}) { nodes { id } } } } }`), 9 * (MESSAGES + 1) + 600);
    }
  });

  it('a search that most sessions match reads only the first matches', async () => {
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, filter: { search: "the" }) { nodes { id } } }`), 5_000);
  });

  it('totalCount of all sessions reads one table, and of agents only the index', async () => {
    expectRowsRead(await plansOf('{ sessions(first: 0) { totalCount } }'), SESSIONS);
    expectRowsRead(await plansOf('{ agents { nodes { id } totalCount } }'), 50);
  });

  it('usage of session trees reads only the trees', async () => {
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}) { nodes { usage(scope: TREE) { totalTokens } } } }`), PAGE * 20);
  });

  it('sessions of agents and children of sessions read only their page', async () => {
    expectRowsRead(await plansOf('{ agents { nodes { sessions(first: 5) { nodes { title } } } } }'), 200);
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}) { nodes { children(first: 5) { nodes { title } } } } }`), PAGE * 20);
  });

  it.each(
    ['CREATED_AT', 'STARTED_AT', 'LAST_ACTIVITY_AT', 'ENDED_AT', 'TITLE', 'PRIORITY'].flatMap(field => [`${field}, direction: ASC`, field]),
  )('a page ordered by %s reads only its rows, at both ends and forward and backward from 10,000 rows deep', async field => {
    const orderBy = `{ field: ${field} }`;
    // A row of each of the two tables, up to twice, and rows of sessions that are not listed.
    const maxRows = 5 * PAGE_ROWS;
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, orderBy: ${orderBy}) { nodes { id } } }`), maxRows);
    expectRowsRead(await plansOf(`{ sessions(last: ${PAGE}, orderBy: ${orderBy}) { nodes { id } } }`), maxRows);
    const cursor = await cursorAt(10_000, orderBy);
    expectRowsRead(
      await plansOf(`query($cursor: String) { sessions(first: ${PAGE}, after: $cursor, orderBy: ${orderBy}) { nodes { id } } }`, {
        cursor,
      }),
      maxRows,
    );
    expectRowsRead(
      await plansOf(`query($cursor: String) { sessions(last: ${PAGE}, before: $cursor, orderBy: ${orderBy}) { nodes { id } } }`, {
        cursor,
      }),
      maxRows,
    );
  });

  it.each(['UPDATED_AT', 'MESSAGE_COUNT', 'TOTAL_TOKENS'])(
    'a page ordered by %s, which has no index, reads one table once',
    async field => {
      const orderBy = `{ field: ${field} }`;
      expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, orderBy: ${orderBy}) { nodes { id } } }`), SESSIONS + 3 * PAGE_ROWS);
      const cursor = await cursorAt(1_000, orderBy);
      expectRowsRead(
        await plansOf(`query($cursor: String) { sessions(first: ${PAGE}, after: $cursor, orderBy: ${orderBy}) { nodes { id } } }`, {
          cursor,
        }),
        SESSIONS + 3 * PAGE_ROWS,
      );
    },
  );

  it.each(['trashed: false', 'trashed: false, superseded: false', 'superseded: false', 'agentId: { eq: "coder" }'])(
    'a page of { %s } in the default order reads only its rows',
    async filter => {
      expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, filter: { ${filter} }) { nodes { id } } }`), 3 * PAGE_ROWS);
    },
  );

  it('a page filtered by key, label, parent, id or an unused type reads only the matches', async () => {
    const anyValueOf = async (column: string) => {
      const { rows } = await client.query<{ value: string }>(
        `select ${column} as value from aria_engine.chat_sessions where ${column} is not null and deleted_at is null order by id limit 1`,
      );
      return JSON.stringify(rows[0]?.value);
    };
    for (const filter of [
      `key: { eq: ${await anyValueOf('key')} }`,
      `label: { eq: ${await anyValueOf('label')} }`,
      `parentId: ${await anyValueOf('parent_id')}`,
      `id: { eq: ${await anyValueOf('id')} }`,
      'type: { eq: "none of these" }',
    ]) {
      for (const orderBy of ['LAST_ACTIVITY_AT', 'CREATED_AT']) {
        const paged = `sessions(first: ${PAGE}, filter: { ${filter} }, orderBy: { field: ${orderBy} })`;
        expectRowsRead(await plansOf(`{ ${paged} { nodes { id } totalCount } }`), 100);
      }
    }
  });

  it.each([
    'status: { eq: FAILED }',
    'kind: { eq: SUBAGENT }',
    'type: { eq: "cron" }',
    'status: { in: [ACTIVE, WORKING] }',
    'kind: { eq: MAIN }',
    'agentId: { eq: "coder" }, status: { eq: SPAWNING }',
  ])('a page of { %s } reads at most about as many rows as there are sessions, in any order', async filter => {
    for (const orderBy of ['LAST_ACTIVITY_AT', 'CREATED_AT', 'TITLE']) {
      const plans = await plansOf(`{ sessions(first: ${PAGE}, filter: { ${filter} }, orderBy: { field: ${orderBy} }) { nodes { id } } }`);
      expectRowsRead(plans, 1.2 * SESSIONS);
    }
  });

  it('a page of Session.events reads only its rows, at both ends and in the middle, even of the busiest session', async () => {
    const { rows: sessions } = await client.query<{ id: string }>(
      '(select id from aria_engine.chat_sessions order by id limit 1) union all (select id from aria_engine.chat_sessions order by id desc limit 1)',
    );
    const page = 'nodes { cursor occurredAt sessionId }';
    const middle = encodeEventCursor(BigInt(EVENTS / 2));
    for (const { id } of sessions) {
      for (const list of [`first: ${PAGE}`, `last: ${PAGE}`, `first: ${PAGE}, after: "${middle}"`, `last: ${PAGE}, before: "${middle}"`]) {
        // Each day's partition has its own index, and the query may read a row from each.
        expectRowsRead(await plansOf(`{ session(id: "${id}") { events(${list}) { ${page} } } }`), PAGE_ROWS + 20);
      }
    }
  });

  it("the sweeper's search for stalled sessions reads only SPAWNING and WORKING sessions", async () => {
    const { rows } = await client.query<{ number: number }>(
      `select count(*)::int as number from aria_engine.chat_sessions where status in ('SPAWNING', 'WORKING')`,
    );
    const activeCount = rows[0]?.number ?? 0;
    expect(activeCount).toBeLessThan(SESSIONS / 10);
    const batch = { size: 200, skip: [], lost: new AbortController().signal };
    for (const stalledAfterMs of [3_650 * 86_400_000, 0]) {
      app.resetSql();
      await stallSessions(app.app.database, stalledAfterMs, batch);
      const [search] = app.sql;
      if (search === undefined) throw new Error('The sweeper sent no statement.');
      expectRowsRead([{ statement: search, plan: await explain(client, search) }], 2 * activeCount);
    }
  });
});
