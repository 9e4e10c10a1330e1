import { deepStrictEqual } from 'node:assert';
import { encodePost } from './http-load.ts';

/** The goal of a workload, from PERFORMANCE.md. */
type Goal =
  /** At least this share of the baseline's requests per second. */
  | { readonly ratio: number }
  /** At most this many milliseconds at the 99th percentile. */
  | { readonly p99Ms: number };

/** Requests of one kind, for both servers. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly goal: Goal;
  /** A list of requests for each concurrent client. */
  readonly clients: readonly (readonly WorkloadRequest[])[];
  /** The part of a response that must be equal on both servers; by default all of it. */
  readonly comparable?: (data: unknown) => unknown;
}

/** One request, in the forms that the two servers understand. */
export interface WorkloadRequest {
  readonly graphql: { readonly query: string; readonly variables: Readonly<Record<string, unknown>> };
  readonly raw: { readonly path: string; readonly body: Readonly<Record<string, string>> };
}

/** Ids and search terms that occur in the database. */
export interface WorkloadMaterial {
  /** UUIDs of sessions to read. */
  readonly sessionIds: readonly string[];
  /** UUIDs of open sessions to append to, at least one. */
  readonly openSessionIds: readonly string[];
  /** A word that occurs in few messages. */
  readonly rareTerm: string;
  /** A word that occurs in about 5 % of the messages. */
  readonly commonTerm: string;
}

/** One of the two servers: the baseline, or Sessiongraph. */
export type Side = 'raw' | 'ours';

const READERS = 16;
const WRITERS = 32;
/** A word that occurs nowhere. */
const ABSENT_TERM = 'zyzzyva';

const SESSION = 'query Session($id: ID!) { session(id: $id) { id title status agentId messageCount } }';
const SESSIONS =
  'query Sessions { sessions(first: 20) { nodes { id title status kind agentId messageCount lastActivityAt } pageInfo { hasNextPage } } }';
const SESSIONS_WITH_MESSAGES =
  'query SessionsWithMessages { sessions(first: 20) { nodes { id title messages(first: 10) { nodes { id position role content createdAt } } } } }';
const SESSION_WITH_MESSAGES =
  'query SessionWithMessages($id: ID!) { session(id: $id) { id title messages(first: 50) { nodes { id position role content createdAt } } } }';
const SEARCH =
  'query Search($query: String!, $mode: SearchMode!) { searchMessages(query: $query, mode: $mode, first: 20) { nodes { messageId position createdAt } } }';
const APPEND =
  'mutation Append($sessionId: ID!, $content: String!) { appendMessage(input: { sessionId: $sessionId, message: { role: USER, content: $content } }) { message { id position createdAt } } }';

/** The workloads of PERFORMANCE.md. The ones that write come last. */
export function createWorkloads(material: WorkloadMaterial): Workload[] {
  const bySession = (query: string, path: string) =>
    shared(
      READERS,
      material.sessionIds.map(id => ({ graphql: { query, variables: { id } }, raw: { path, body: { id } } })),
    );
  const page = (query: string, path: string) => shared(READERS, [{ graphql: { query, variables: {} }, raw: { path, body: {} } }]);
  return [
    { name: 'W4', title: 'one session by id, 5 fields', goal: { ratio: 0.35 }, clients: bySession(SESSION, '/session') },
    { name: 'W1', title: 'page of 20 sessions, 7 fields', goal: { ratio: 0.55 }, clients: page(SESSIONS, '/sessions') },
    {
      name: 'W3',
      title: 'one session with 50 messages',
      goal: { ratio: 0.47 },
      clients: bySession(SESSION_WITH_MESSAGES, '/session-with-messages'),
    },
    {
      name: 'W2',
      title: '20 sessions x 10 messages',
      goal: { ratio: 0.61 },
      clients: page(SESSIONS_WITH_MESSAGES, '/sessions-with-messages'),
    },
    ...searches(material),
    ...appends(material),
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
      // From PERFORMANCE.md. One client only: several would measure the queue for the CPU instead of the search.
      goal: { p99Ms: 10 },
      clients: shared(1, [{ graphql: { query: SEARCH, variables: { query, mode } }, raw: { path: '/search', body: { query, mode } } }]),
    })),
  );
}

function appends(material: WorkloadMaterial): Workload[] {
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
      title: `append, ${WRITERS} clients, a session each`,
      goal: { ratio: 0.6 },
      clients: Array.from({ length: WRITERS }, (_, client) => [to(sessionOf(client))]),
      comparable,
    },
    {
      name: 'W6h',
      title: `append, ${WRITERS} clients, one hot session`,
      goal: { ratio: 0.75 },
      clients: shared(WRITERS, [to(sessionOf(0))]),
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

/** Encodes a request for one of the servers. */
export function encodeRequest(request: WorkloadRequest, side: Side): Buffer {
  return side === 'ours' ? encodePost('/graphql', request.graphql) : encodePost(request.raw.path, request.raw.body);
}

/** @throws AssertionError with the difference if the responses of the two servers differ */
export function assertSameResponse(workload: Workload, responses: Readonly<Record<Side, unknown>>): void {
  const of = (side: Side) => {
    const data = dataOf(responses[side]);
    return workload.comparable === undefined ? data : workload.comparable(data);
  };
  deepStrictEqual(of('ours'), of('raw'), `${workload.name} (${workload.title}): the responses differ`);
}

/** The data of a response. The baseline has no extensions, such as the cost of the query. */
function dataOf(response: unknown): unknown {
  return typeof response === 'object' && response !== null && 'data' in response ? response.data : response;
}
