import { deepStrictEqual } from 'node:assert';
import type { SessionOrderField } from '../../src/modules/session-filter/session-filter.rules.ts';
import { sessionOrdering } from '../../src/modules/session-filter/session-order.sql.ts';
import { toPage } from '../../src/postgres/keyset.ts';
import { encodePost } from './http-load.ts';

/** The goal of a workload. */
export type Goal =
  /** At least this share of the baseline's requests per second. */
  | { readonly ratio: number }
  /** At least this many times PostGraphile's requests per second. */
  | { readonly postgraphileRatio: number }
  /** At most this many milliseconds at the 99th percentile. */
  | { readonly p99Ms: number };

/** Requests of one kind, for both servers. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly goal: Goal;
  /** A list of requests for each concurrent client. */
  readonly clients: readonly (readonly WorkloadRequest[])[];
  /** The part of a response that must be equal on the baseline and on Sessiongraph; by default all of it. */
  readonly comparable?: (data: unknown) => unknown;
}

/** A GraphQL request. */
interface GraphQLRequest {
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** One request, in the forms that the servers understand. */
export interface WorkloadRequest {
  readonly graphql: GraphQLRequest;
  readonly raw: { readonly path: string; readonly body: Readonly<Record<string, string>> };
  /** Absent if PostGraphile does not serve the workload. */
  readonly postgraphile?: GraphQLRequest;
}

/** The place behind which a page of sessions begins. */
export interface PagePlace {
  /** Postgres' text of the last activity, in UTC. */
  readonly at: string;
  /** UUID of the session. */
  readonly id: string;
}

/** Ids and search terms that occur in the database. */
export interface WorkloadMaterial {
  /** UUIDs of sessions to read. */
  readonly sessionIds: readonly string[];
  /** UUIDs of open sessions to append to, at least one. */
  readonly openSessionIds: readonly string[];
  /** The places behind which pages begin. Clients ask for these pages in turn, as different people would. */
  readonly places: readonly PagePlace[];
  /** PostGraphile's cursors for the same places; absent if it is not measured. */
  readonly postgraphileCursors?: readonly string[];
  /** A word that occurs in few messages. */
  readonly rareTerm: string;
  /** A word that occurs in about 5 % of the messages. */
  readonly commonTerm: string;
}

/** One of the servers: the baseline, Sessiongraph, or PostGraphile. */
export type Side = 'raw' | 'ours' | 'postgraphile';

/** How many clients send requests at the same time. */
export interface ClientCounts {
  readonly readers: number;
  readonly writers: number;
}

export const DEFAULT_CLIENTS: ClientCounts = { readers: 8, writers: 32 };
/** A word that occurs nowhere. */
const ABSENT_TERM = 'zyzzyva';

const SESSION = 'query Session($id: ID!) { session(id: $id) { id title status agentId messageCount } }';
const SESSIONS =
  'query Sessions($after: String) { sessions(first: 20, after: $after) { nodes { id title status kind agentId messageCount lastActivityAt } pageInfo { hasNextPage } } }';
const SESSIONS_WITH_MESSAGES =
  'query SessionsWithMessages($after: String) { sessions(first: 20, after: $after) { nodes { id title messages(first: 10) { nodes { id position role content createdAt } } } } }';
const SESSION_WITH_MESSAGES =
  'query SessionWithMessages($id: ID!) { session(id: $id) { id title messages(first: 50) { nodes { id position role content createdAt } } } }';
const SEARCH =
  'query Search($query: String!, $mode: SearchMode!) { searchMessages(query: $query, mode: $mode, first: 20) { nodes { messageId position createdAt } } }';
/** PostGraphile's list in the order of Sessiongraph's default list. */
export const POSTGRAPHILE_LIST = 'allSessions(first: 20, after: $after, orderBy: [LAST_ACTIVITY_AT_DESC, ROW_ID_DESC])';

const APPEND =
  'mutation Append($sessionId: ID!, $content: String!) { appendMessage(input: { sessionId: $sessionId, message: { role: USER, content: $content } }) { message { id position createdAt } } }';

/** The same queries in the schema that PostGraphile's Amber preset makes of its tables (postgraphile.ts). */
const POSTGRAPHILE = {
  session: 'query Session($id: UUID!) { sessionByRowId(rowId: $id) { rowId title status agentId messageCount } }',
  sessions: `query Sessions($after: Cursor) { ${POSTGRAPHILE_LIST} { nodes { rowId title status kind agentId messageCount lastActivityAt } pageInfo { hasNextPage } } }`,
  sessionsWithMessages: `query SessionsWithMessages($after: Cursor) { ${POSTGRAPHILE_LIST} { nodes { rowId title messagesBySessionId(first: 10, orderBy: [POSITION_ASC]) { nodes { rowId position role content createdAt } } } } }`,
  sessionWithMessages:
    'query SessionWithMessages($id: UUID!) { sessionByRowId(rowId: $id) { rowId title messagesBySessionId(first: 50, orderBy: [POSITION_ASC]) { nodes { rowId position role content createdAt } } } }',
} as const;

/** The cursor of Sessiongraph's list of all sessions behind a place, whose `at` is the value of the order's field. */
export function cursorBehind({ at, id }: PagePlace, field: SessionOrderField = 'LAST_ACTIVITY_AT'): string {
  const ordering = sessionOrdering([{ field }], ['sessions', undefined]);
  const window = { limit: 1, inverted: false, after: null, before: null };
  return toPage([{ cursor: JSON.stringify([at, id]) }], window, ordering).cursorAt(0) ?? '';
}

/** All workloads. The ones that write come last. */
export function createWorkloads(material: WorkloadMaterial, { readers, writers }: ClientCounts = DEFAULT_CLIENTS): Workload[] {
  const bySession = (query: string, path: string, postgraphile: string) =>
    shared(
      readers,
      material.sessionIds.map(id => ({
        graphql: { query, variables: { id } },
        raw: { path, body: { id } },
        postgraphile: { query: postgraphile, variables: { id } },
      })),
    );
  const pages = (query: string, path: string, postgraphile: string) =>
    shared(
      readers,
      material.places.map((place, index) => ({
        graphql: { query, variables: { after: cursorBehind(place) } },
        raw: { path, body: { ...place } },
        postgraphile: { query: postgraphile, variables: { after: material.postgraphileCursors?.[index] } },
      })),
    );
  const typename = { query: 'query T0 { __typename }', variables: {} };
  return [
    {
      name: 'T0',
      title: '{ __typename }',
      goal: { postgraphileRatio: 1.1 },
      clients: shared(readers, [{ graphql: typename, raw: { path: '/typename', body: {} }, postgraphile: typename }]),
    },
    {
      name: 'W4',
      title: 'one session by id, 5 fields',
      goal: { postgraphileRatio: 2 },
      clients: bySession(SESSION, '/session', POSTGRAPHILE.session),
    },
    {
      name: 'W1',
      title: 'page of 20 sessions, 7 fields',
      goal: { postgraphileRatio: 1.5 },
      clients: pages(SESSIONS, '/sessions', POSTGRAPHILE.sessions),
    },
    {
      name: 'W3',
      title: 'one session with 50 messages',
      goal: { postgraphileRatio: 2.2 },
      clients: bySession(SESSION_WITH_MESSAGES, '/session-with-messages', POSTGRAPHILE.sessionWithMessages),
    },
    {
      name: 'W2',
      title: '20 sessions x 10 messages',
      goal: { postgraphileRatio: 1.15 },
      clients: pages(SESSIONS_WITH_MESSAGES, '/sessions-with-messages', POSTGRAPHILE.sessionsWithMessages),
    },
    ...searches(material),
    ...appends(material, writers),
  ];
}

function searches(material: WorkloadMaterial): Workload[] {
  const terms = [
    ['rare', material.rareTerm],
    ['common', material.commonTerm],
    ['absent', ABSENT_TERM],
  ] as const;
  return terms.flatMap(([frequency, query]) =>
    (['WORDS', 'SUBSTRING'] as const).map(mode => ({
      name: 'W5',
      title: `search ${mode}, ${frequency} term`,
      // One client only: several would measure the queue for the CPU instead of the search.
      goal: { p99Ms: 10 },
      clients: shared(1, [{ graphql: { query: SEARCH, variables: { query, mode } }, raw: { path: '/search', body: { query, mode } } }]),
    })),
  );
}

function appends(material: WorkloadMaterial, writers: number): Workload[] {
  const content = 'The nightly run is through: 14 files changed, all checks passed, nothing left over.';
  const to = (sessionId: string): WorkloadRequest => {
    const variables = { sessionId, content };
    return { graphql: { query: APPEND, variables }, raw: { path: '/append', body: variables } };
  };
  const { openSessionIds } = material;
  const sessionOf = (client: number) => openSessionIds[client % openSessionIds.length] ?? '';
  // Each append creates another message, so ids, positions and times differ.
  const comparable = (data: unknown) => JSON.stringify(data).replace(/"(id|createdAt)":"[^"]+"|"position":\d+/g, '$1');
  return [
    {
      name: 'W6d',
      title: `append, ${writers} clients, a session each`,
      goal: { ratio: 0.7 },
      clients: Array.from({ length: writers }, (_, client) => [to(sessionOf(client))]),
      comparable,
    },
    {
      name: 'W6h',
      title: `append, ${writers} clients, one hot session`,
      goal: { ratio: 1.5 },
      clients: shared(writers, [to(sessionOf(0))]),
      comparable,
    },
  ];
}

/** The same requests for each client, each starting at another one, so clients do not send the same request at the same time. */
function shared(clients: number, requests: readonly WorkloadRequest[]): (readonly WorkloadRequest[])[] {
  return Array.from({ length: clients }, (_, client) => {
    const from = Math.floor((client * requests.length) / clients);
    return [...requests.slice(from), ...requests.slice(0, from)];
  });
}

/** Encodes a request for one of the servers; null if the server does not serve it. */
export function encodeRequest(request: WorkloadRequest, side: Side): Buffer | null {
  if (side === 'raw') return encodePost(request.raw.path, request.raw.body);
  const graphql = side === 'ours' ? request.graphql : request.postgraphile;
  return graphql === undefined ? null : encodePost('/graphql', graphql);
}

/** @throws AssertionError with the difference if the responses of the servers differ */
export function assertSameResponse(workload: Workload, responses: ReadonlyMap<Side, unknown>): void {
  const data = (side: Side) => dataOf(responses.get(side));
  const { comparable = whole => whole } = workload;
  const problem = `${workload.name} (${workload.title}): the responses differ`;
  deepStrictEqual(comparable(data('ours')), comparable(data('raw')), problem);
  // PostGraphile has other ids and names of types, so only texts and counts are compared.
  if (responses.has('postgraphile')) deepStrictEqual(comparedValues(data('postgraphile')), comparedValues(data('ours')), problem);
}

const COMPARED_FIELDS: ReadonlySet<string> = new Set(['title', 'agentId', 'messageCount', 'content', 'hasNextPage']);

/** The values of some fields of a response, in their order. */
function comparedValues(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (COMPARED_FIELDS.has(name) ? [inner] : comparedValues(inner)));
}

/** The data of a response. The baseline has no extensions, such as the cost of the query. */
function dataOf(response: unknown): unknown {
  return typeof response === 'object' && response !== null && 'data' in response ? response.data : response;
}
