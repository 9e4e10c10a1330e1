import { decodeEventCursor } from '../../../src/events/event-cursor.ts';
import type { TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { storedSession, storeSessions } from '../session-filter/stored-session.ts';

/** Relay's paging arguments. */
export interface PageArguments {
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
}

/** A page of a connection in a response. */
export interface ConnectionPage {
  readonly totalCount: number;
  readonly edges: readonly { readonly cursor: string; readonly node: { readonly id: string } }[];
  readonly nodes: readonly { readonly id: string }[];
  readonly pageInfo: {
    readonly hasNextPage: boolean;
    readonly hasPreviousPage: boolean;
    readonly startCursor: string | null;
    readonly endCursor: string | null;
  };
}

/** A connection of the schema, and the query that reads it. */
export interface PagedList {
  readonly name: string;
  /** The number of rows in the stored data. */
  readonly size: number;
  readonly defaultPage: number;
  readonly maxPage: number;
  /** An operation whose variables are the four paging arguments. */
  readonly query: string;
  /** True for event cursors. They have their own format and their own tests. */
  readonly ownCursors?: boolean;
  /** The SQL that deletes the row of this id. */
  readonly removal: (id: string) => { readonly sql: string; readonly values: readonly unknown[] };
}

const PARENT = '0197b000-0000-7000-8000-000000000001';
const CHATTY = '0197b000-0000-7000-8000-000000000002';
const MESSAGES = 530;
const EVENTS = 520;
const CHILDREN = 27;
const WALKER_SESSIONS = 130;
const OTHER_AGENTS = 104;

/** Stores more sessions, messages and events than the largest page of most lists holds. Many rows share their sort values. */
export async function storePagedData(app: TestApp): Promise<void> {
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));
  const roots = [
    storedSession({ id: PARENT, agentId: 'walker', lastActivityAt: at(0) }),
    storedSession({
      id: CHATTY,
      agentId: 'walker',
      lastActivityAt: at(1),
      messages: Array.from({ length: MESSAGES }, (_, index) => `message ${index}`),
    }),
  ];
  const others = Array.from({ length: WALKER_SESSIONS - roots.length }, (_, index) =>
    storedSession({
      agentId: 'walker',
      title: `Session ${index % 7}`,
      parentId: index < CHILDREN ? PARENT : null,
      lastActivityAt: at(index % 10),
      endedAt: index % 2 === 0 ? at(index % 5) : null,
    }),
  );
  const agents = Array.from({ length: OTHER_AGENTS }, (_, index) =>
    storedSession({ agentId: `agent-${String(index).padStart(3, '0')}`, lastActivityAt: at(index % 10) }),
  );
  // No list shows these two.
  const hidden = [
    storedSession({ agentId: 'hidden', parentId: PARENT, deletedAt: at(0) }),
    storedSession({ agentId: 'walker', parentId: PARENT, supersededAt: at(0) }),
  ];
  await storeSessions(app.databaseUrl, [...roots, ...others, ...agents, ...hidden]);
  // Half of the events belong to the other session.
  const event = "select ($1::uuid[])[1 + number % 2], 'walker', 'RESTORED' from generate_series(1, $2::int) number";
  await runSql(app.databaseUrl, `insert into aria_engine.session_events (session_id, agent_id, type) ${event}`, [
    [PARENT, CHATTY],
    2 * EVENTS,
  ]);
}

const PAGING = 'first: $first, after: $after, last: $last, before: $before';
const PAGE = '{ totalCount edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }';
const operation = (selection: string) =>
  `query Page($first: Int, $after: String, $last: Int, $before: String) ${selection.replace('ARGS', PAGING).replace('PAGE', PAGE)}`;

const bareId = (id: string) =>
  Buffer.from(id, 'base64')
    .toString()
    .replace(/^[A-Za-z]+:(.*:)?/, '');
const sessionRemoval = (id: string) => ({ sql: 'delete from aria_engine.chat_sessions where id = $1', values: [bareId(id)] });
const agentRemoval = (id: string) => ({ sql: 'delete from aria_engine.chat_sessions where agent_id = $1', values: [bareId(id)] });
const messageRemoval = (id: string) => ({ sql: 'delete from aria_engine.chat_messages where id = $1', values: [bareId(id)] });
const SESSION_SIZES = { defaultPage: 20, maxPage: 100 };
const MESSAGE_SIZES = { defaultPage: 50, maxPage: 500 };

/** Every list that pages. */
export const PAGED_LISTS: readonly PagedList[] = [
  {
    name: 'sessions',
    size: WALKER_SESSIONS + OTHER_AGENTS,
    ...SESSION_SIZES,
    query: operation('{ sessions(ARGS) PAGE }'),
    removal: sessionRemoval,
  },
  {
    name: 'sessions with a filter and two sort fields in two directions',
    size: WALKER_SESSIONS,
    ...SESSION_SIZES,
    query: operation(
      '{ sessions(ARGS, filter: { agentId: { eq: "walker" } }, orderBy: [{ field: TITLE, direction: ASC }, { field: ENDED_AT }]) PAGE }',
    ),
    removal: sessionRemoval,
  },
  {
    name: 'Agent.sessions',
    size: WALKER_SESSIONS,
    ...SESSION_SIZES,
    query: operation('{ agent(agentId: "walker") { sessions(ARGS) PAGE } }'),
    removal: sessionRemoval,
  },
  {
    name: 'Session.children',
    size: CHILDREN,
    ...SESSION_SIZES,
    query: operation(`{ session(id: "${PARENT}") { children(ARGS) PAGE } }`),
    removal: sessionRemoval,
  },
  { name: 'agents', size: OTHER_AGENTS + 1, ...SESSION_SIZES, query: operation('{ agents(ARGS) PAGE }'), removal: agentRemoval },
  {
    name: 'Session.messages',
    size: MESSAGES,
    ...MESSAGE_SIZES,
    query: operation(`{ session(id: "${CHATTY}") { messages(ARGS) PAGE } }`),
    removal: messageRemoval,
  },
  {
    name: 'Session.messages of all branches with a filter',
    size: MESSAGES / 2,
    ...MESSAGE_SIZES,
    query: operation(`{ session(id: "${CHATTY}") { messages(ARGS, filter: { roles: [USER] }, branch: ALL) PAGE } }`),
    removal: messageRemoval,
  },
  {
    name: 'Session.events',
    size: EVENTS,
    ...MESSAGE_SIZES,
    // An event has no id, so the query returns its cursor as `id`.
    query: operation(`{ session(id: "${CHATTY}") { events(ARGS) PAGE } }`).replaceAll('{ id }', '{ id: cursor }'),
    ownCursors: true,
    removal: cursor => ({ sql: 'delete from aria_engine.session_events where seq = $1', values: [decodeEventCursor(cursor)] }),
  },
];

/** Reads one page of the connection, which is the deepest field of the operation. */
export async function fetchPage(app: TestApp, list: Pick<PagedList, 'query'>, args: PageArguments): Promise<ConnectionPage> {
  const data = (await app.gql(list.query, { ...args })).expectOk();
  return connectionIn(data);
}

function connectionIn(data: unknown): ConnectionPage {
  if (typeof data !== 'object' || data === null) throw new Error('The response contains no connection.');
  if ('pageInfo' in data) return data as ConnectionPage;
  return connectionIn(Object.values(data)[0]);
}
