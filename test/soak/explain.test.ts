import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions } from '../../scripts/seed/session-generator.ts';
import { encodeEventCursor } from '../../src/events/event-cursor.ts';
import { PREPARED, type RecordedStatement } from '../../src/postgres/database.ts';
import { createSchema } from '../../src/schema.ts';
import { stallSessions } from '../../src/sweeper/stalled-sessions.ts';
import { leafSelection } from '../performance/leaf-selection.ts';
import { explain, explainGeneric, type QueryPlan } from '../performance/query-plan.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

const SESSIONS = 20_000;
const MESSAGES = 50;
const LONGEST = 100_000;
/** Over nine days. */
const EVENTS = 200_000;
const PAGE = 20;
/** The rows of a page and the one behind it. */
const READ = PAGE + 1;
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
  // One of the first page has been talking for days.
  await client.query(
    `insert into aria_engine.chat_messages (session_id, position, id, role, content, created_at)
     select a.session_id, n, gen_random_uuid(), (case when n % 2 = 0 then 'USER' else 'ASSISTANT' end)::aria_engine.message_role, 'message ' || n, a.last_activity_at
     from (select session_id, last_activity_at from aria_engine.chat_session_activity where listed order by last_activity_at desc, session_id desc offset 5 limit 1) a,
       generate_series($1::int, $2::int) n`,
    [MESSAGES + 1, LONGEST],
  );
  // Every fourth event is of one session.
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

/** The plans of the statements an operation takes; of a named prepared one, the generic plan too. */
async function plansOf(query: string, variables?: Record<string, unknown>): Promise<Explained[]> {
  const answer = await app.gql(query, variables);
  answer.expectOk();
  const plans: Explained[] = [];
  for (const statement of answer.sql) {
    plans.push({ statement, plan: await explain(client, statement) });
    if (statement.sql.startsWith(PREPARED)) plans.push({ statement, plan: await explainGeneric(client, statement) });
  }
  return plans;
}

function expectRowsRead(plans: readonly Explained[], most: number): void {
  expect(plans.length).toBeGreaterThan(0);
  for (const { statement, plan } of plans) {
    expect(plan.rowsRead, `${statement.sql}\n${plan.nodes.join(' | ')}\n${JSON.stringify(plan)}`).toBeLessThanOrEqual(most);
  }
}

/** The cursor in the middle of a list. */
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
  it('a page with its messages, last messages, parents and depths reads what it shows, the longest session included', async () => {
    const scalars = [leafSelection(schema, 'Session'), leafSelection(schema, 'Message')];
    const plans = await plansOf(
      `{ sessions(first: ${PAGE}) { nodes { ${scalars[0]} lastMessage { ${scalars[1]} } parent { ${scalars[0]} }
        messages(first: 10) { nodes { ${scalars[1]} parts { type } } } newest: messages(last: 10) { nodes { id } } all: messages(first: 10, branch: ALL) { nodes { id } } } } }`,
    );
    expectRowsRead(plans, PAGE * 12);
  });

  it('a page of messages larger than most sessions reads what it shows', async () => {
    for (const list of ['first: 500', 'last: 200', 'first: 100, branch: ALL', 'last: 500, branch: ALL']) {
      expectRowsRead(await plansOf(`{ sessions(first: 10) { nodes { messages(${list}) { nodes { id } } } } }`), 9 * (MESSAGES + 1) + 600);
    }
  });

  it('a search for what most sessions hold reads the first of them', async () => {
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, filter: { search: "the" }) { nodes { id } } }`), 5_000);
  });

  it('a total of all sessions is counted in one table, totals of agents off the index', async () => {
    expectRowsRead(await plansOf('{ sessions(first: 0) { totalCount } }'), SESSIONS);
    expectRowsRead(await plansOf('{ agents { nodes { id } totalCount } }'), 50);
  });

  it('usage of trees reads the trees', async () => {
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}) { nodes { usage(scope: TREE) { totalTokens } } } }`), PAGE * 20);
  });

  it('sessions of agents and children of sessions are read page by page', async () => {
    expectRowsRead(await plansOf('{ agents { nodes { sessions(first: 5) { nodes { title } } } } }'), 200);
    expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}) { nodes { children(first: 5) { nodes { title } } } } }`), PAGE * 20);
  });

  it.each(['CREATED_AT', 'STARTED_AT', 'LAST_ACTIVITY_AT', 'ENDED_AT', 'TITLE'].flatMap(field => [`${field}, direction: ASC`, field]))(
    'a page by %s reads its rows, at the top, 10,000 deep, and backwards from there',
    async field => {
      const orderBy = `{ field: ${field} }`;
      // A row of each of the two tables, and those that are not listed.
      const most = 3 * READ;
      expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, orderBy: ${orderBy}) { nodes { id } } }`), most);
      expectRowsRead(await plansOf(`{ sessions(last: ${PAGE}, orderBy: ${orderBy}) { nodes { id } } }`), most);
      const cursor = await cursorAt(10_000, orderBy);
      expectRowsRead(
        await plansOf(`query($cursor: String) { sessions(first: ${PAGE}, after: $cursor, orderBy: ${orderBy}) { nodes { id } } }`, {
          cursor,
        }),
        most,
      );
      expectRowsRead(
        await plansOf(`query($cursor: String) { sessions(last: ${PAGE}, before: $cursor, orderBy: ${orderBy}) { nodes { id } } }`, {
          cursor,
        }),
        most,
      );
    },
  );

  it.each(['UPDATED_AT', 'MESSAGE_COUNT', 'TOTAL_TOKENS', 'PRIORITY'])(
    'a page by %s, which has no index, reads each row once',
    async field => {
      expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, orderBy: { field: ${field} }) { nodes { id } } }`), 2 * SESSIONS);
    },
  );

  it.each(['trashed: false', 'trashed: false, superseded: false', 'superseded: false', 'agentId: { eq: "coder" }'])(
    'a page of { %s } in the default order reads its rows',
    async filter => {
      expectRowsRead(await plansOf(`{ sessions(first: ${PAGE}, filter: { ${filter} }) { nodes { id } } }`), 3 * READ);
    },
  );

  it('a page of a key, a label, a parent, an id or of nothing reads what there is', async () => {
    const one = async (column: string) => {
      const { rows } = await client.query<{ value: string }>(
        `select ${column} as value from aria_engine.chat_sessions where ${column} is not null and deleted_at is null order by id limit 1`,
      );
      return JSON.stringify(rows[0]?.value);
    };
    for (const filter of [
      `key: { eq: ${await one('key')} }`,
      `label: { eq: ${await one('label')} }`,
      `parentId: ${await one('parent_id')}`,
      `id: { eq: ${await one('id')} }`,
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
  ])('a page of { %s } reads no more than the smaller of all sessions and those that match, in any order', async filter => {
    for (const orderBy of ['LAST_ACTIVITY_AT', 'CREATED_AT', 'TITLE']) {
      const plans = await plansOf(`{ sessions(first: ${PAGE}, filter: { ${filter} }, orderBy: { field: ${orderBy} }) { nodes { id } } }`);
      expectRowsRead(plans, 1.2 * SESSIONS);
    }
  });

  it('a page of the events of a session reads its rows, at either end and in the middle, of the busiest session too', async () => {
    const { rows: sessions } = await client.query<{ id: string }>(
      '(select id from aria_engine.chat_sessions order by id limit 1) union all (select id from aria_engine.chat_sessions order by id desc limit 1)',
    );
    const page = 'nodes { cursor occurredAt sessionId }';
    const middle = encodeEventCursor(BigInt(EVENTS / 2));
    for (const { id } of sessions) {
      for (const list of [`first: ${PAGE}`, `last: ${PAGE}`, `first: ${PAGE}, after: "${middle}"`, `last: ${PAGE}, before: "${middle}"`]) {
        // Each day has an index of its own, and each may be asked for a row.
        expectRowsRead(await plansOf(`{ session(id: "${id}") { events(${list}) { ${page} } } }`), READ + 20);
      }
    }
  });

  it('the sweeper finds stalled sessions among those at work, whatever the number of the others', async () => {
    const { rows } = await client.query<{ number: number }>(
      `select count(*)::int as number from aria_engine.chat_sessions where status in ('SPAWNING', 'WORKING')`,
    );
    const atWork = rows[0]?.number ?? 0;
    expect(atWork).toBeLessThan(SESSIONS / 10);
    const batch = { size: 200, skip: [], lost: new AbortController().signal };
    for (const stalledAfterMs of [3_650 * 86_400_000, 0]) {
      app.resetSql();
      await stallSessions(app.app.database, stalledAfterMs, batch);
      const [search] = app.sql;
      if (search === undefined) throw new Error('The sweeper has looked for nothing.');
      expectRowsRead([{ statement: search, plan: await explain(client, search) }], 2 * atWork);
    }
  });
});
