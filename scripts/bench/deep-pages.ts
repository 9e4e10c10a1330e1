import type { SessionOrderField } from '../../src/modules/session-filter/session-filter.rules.ts';
import { sessionOrdering } from '../../src/modules/session-filter/session-order.sql.ts';
import type { DedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { encodePost, runLoad, sendOnce } from './http-load.ts';
import { cursorBehind, type PagePlace } from './workload.ts';

/** The time of one page among many sessions. */
export interface DeepPageResult {
  readonly title: string;
  readonly p50Ms: number;
  /** Divided by the time of the page that it is compared with. */
  readonly ratio: number;
}

/** A page may take this many times as long as the one it is compared with. */
const MAX_RATIO = 1.5;

const LONG_SESSION_MESSAGES = 100_000;
const ROUNDS = 5;
const ROUND_MS = 500;

const PAGE =
  'query Page($field: SessionOrderField!, $after: String) { sessions(first: 20, after: $after, orderBy: [{ field: $field }]) { nodes { id title messageCount } pageInfo { endCursor } } }';

/** The orders whose pages are measured. */
const ORDERS: readonly SessionOrderField[] = [
  'LAST_ACTIVITY_AT',
  'CREATED_AT',
  'ENDED_AT',
  'TITLE',
  'PRIORITY',
  'UPDATED_AT',
  'MESSAGE_COUNT',
  'TOTAL_TOKENS',
];
const WITH_MESSAGES =
  'query WithMessages($after: String) { sessions(first: 20, after: $after) { nodes { id title messages(first: 10) { nodes { id content } } } } }';

/** Columns that must be unique, or that refer to another session. */
const OWN_COLUMNS = new Set([
  'id',
  'key',
  'label',
  'external_id',
  'parent_id',
  'previous_id',
  'superseded_by',
  'respawned_from',
  'session_id',
]);

/**
 * Copies the sessions of the database until there are as many, without their messages. Copies are older than the originals.
 * One session gets 100,000 messages; it is the one that was active last.
 */
export async function addManySessions(client: DedicatedConnection['client'], sessions: number): Promise<void> {
  const columnsOf = async (table: string) => {
    const { rows } = await client.query<{ name: string }>(
      `select column_name as name from information_schema.columns
        where table_schema = 'aria_engine' and table_name = $1 and is_generated = 'NEVER' order by ordinal_position`,
      [table],
    );
    return rows.map(({ name }) => name).filter(name => !OWN_COLUMNS.has(name));
  };
  const sessionColumns = await columnsOf('chat_sessions');
  const activityColumns = (await columnsOf('chat_session_activity')).filter(name => name !== 'last_activity_at');
  const { rows } = await client.query<{ count: number }>('select count(*)::int as count from aria_engine.chat_sessions');
  const present = rows[0]?.count ?? 1;
  await client.query(`create temporary table copied as
    select s.id as original, gen_random_uuid() as id, n from aria_engine.chat_sessions s
    cross join generate_series(1, ${Math.ceil(sessions / present) - 1}) n`);
  await client.query(`insert into aria_engine.chat_sessions (id, ${sessionColumns.join(', ')})
    select copied.id, ${sessionColumns.map(name => `s.${name}`).join(', ')} from copied join aria_engine.chat_sessions s on s.id = copied.original`);
  await client.query(`insert into aria_engine.chat_session_activity (session_id, last_activity_at, ${activityColumns.join(', ')})
    select copied.id, a.last_activity_at - interval '1 day' * copied.n, ${activityColumns.map(name => `a.${name}`).join(', ')}
    from copied join aria_engine.chat_session_activity a on a.session_id = copied.original`);
  await client.query(`with longest as (
      select session_id, next_position from aria_engine.chat_session_activity where listed order by last_activity_at desc, session_id desc limit 1
    ), message as (
      insert into aria_engine.chat_messages (id, session_id, position, role, content, created_at)
      select gen_random_uuid(), session_id, next_position + n, 'USER', 'All checks passed.', now() from longest, generate_series(0, ${LONG_SESSION_MESSAGES - 1}) n
    )
    update aria_engine.chat_session_activity a set next_position = longest.next_position + ${LONG_SESSION_MESSAGES},
      message_count = a.message_count + ${LONG_SESSION_MESSAGES}, leaf_position = longest.next_position + ${LONG_SESSION_MESSAGES - 1}
    from longest where a.session_id = longest.session_id`);
  await client.query('vacuum (analyze) aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages');
}

interface SessionsPage {
  readonly data: { readonly sessions: { readonly pageInfo: { readonly endCursor: string } } };
}

/** Returns the cursor behind so many sessions of the list, in each measured order. */
export async function findCursors(
  client: DedicatedConnection['client'],
  sessions: number,
): Promise<ReadonlyMap<SessionOrderField, string>> {
  const cursors = new Map<SessionOrderField, string>();
  for (const field of ORDERS) {
    const { terms } = sessionOrdering([{ field }], null);
    const [value, id] = terms.map(({ expression }) => expression.sql);
    const { rows } = await client.query<PagePlace>(`select (${value})::text as at, ${id} as id
      from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
      where a.listed order by ${value} desc, ${id} desc offset ${sessions - 1} limit 1`);
    if (rows[0] === undefined) throw new Error('There are too few listed sessions.');
    cursors.set(field, cursorBehind(rows[0], field));
  }
  return cursors;
}

/** Measures pages in turn, one client at a time. Their times are compared with that of the first page. */
async function compare(port: number, pages: readonly { readonly title: string; readonly body: object }[]): Promise<DeepPageResult[]> {
  const times = pages.map((): number[] => []);
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [index, { body }] of pages.entries()) {
      const { latencies } = await runLoad({ port, durationMs: ROUND_MS, clients: [[encodePost('/graphql', body)]] });
      // The first round warms the caches up.
      if (round > 0) times[index]?.push(...latencies);
    }
  }
  const medians = times.map(found => found.sort((a, b) => a - b)[Math.floor(found.length / 2)] ?? 0);
  return pages.map(({ title }, index) => ({ title, p50Ms: medians[index] ?? 0, ratio: (medians[index] ?? 0) / (medians[0] ?? 1) }));
}

/**
 * Compares a page in the middle of the list in each order with the first page, and a page that has a session with 100,000 messages with a
 * page that has none.
 * @param middles a cursor in the middle of the list in each order
 */
export async function measureDeepPages(
  server: ChildServer,
  middles: ReadonlyMap<SessionOrderField, string>,
  rows: number,
): Promise<readonly DeepPageResult[]> {
  const results: DeepPageResult[] = [];
  for (const [field, after] of middles) {
    const pages = [
      { title: `the first page by ${field}`, body: { query: PAGE, variables: { field } } },
      { title: `the page behind row ${rows} by ${field}`, body: { query: PAGE, variables: { field, after } } },
    ];
    results.push(...(await compare(server.port, pages)));
  }
  const variables = { field: 'LAST_ACTIVITY_AT' };
  const first = (await sendOnce(server.port, encodePost('/graphql', { query: PAGE, variables }))) as SessionsPage;
  const second = first.data.sessions.pageInfo.endCursor;
  const withMessages = await compare(server.port, [
    { title: 'a page with 10 messages of each session', body: { query: WITH_MESSAGES, variables: { after: second } } },
    { title: `the same, one session has ${LONG_SESSION_MESSAGES} messages`, body: { query: WITH_MESSAGES } },
  ]);
  return [...results, ...withMessages];
}

/** Formats the results as a Markdown table. */
export function formatDeepPages(results: readonly DeepPageResult[]): string {
  const lines = results.map(({ title, p50Ms, ratio }) => [
    `W9 ${title}`,
    p50Ms.toFixed(2),
    ratio.toFixed(2),
    ratio === 1 ? '' : `${MAX_RATIO} ${ratio <= MAX_RATIO ? 'met' : 'missed'}`,
  ]);
  return formatTable(['page', 'p50 ms', 'ratio', 'goal: at most'], lines);
}
