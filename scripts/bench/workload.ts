import { deepStrictEqual } from 'node:assert';
import { encodePost } from './http-load.ts';

/** What PERFORMANCE.md asks of a workload. */
type Goal =
  /** Requests a second, of the baseline's. */
  | { readonly ratio: number }
  /** The slower half of one request in a hundred takes at most this long. */
  | { readonly p99Ms: number };

/** One kind of request, as both servers get it. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly goal: Goal;
  /** How many send at once; each has its own list of requests and sends them in turn. */
  readonly clients: readonly (readonly WorkloadRequest[])[];
  /** What of the answers must be the same on both sides; all of them where left out. */
  readonly comparable?: (data: unknown) => unknown;
}

/** A request in the form each of the two servers takes. */
export interface WorkloadRequest {
  readonly graphql: { readonly query: string; readonly variables: Readonly<Record<string, unknown>> };
  readonly raw: { readonly path: string; readonly body: Readonly<Record<string, string>> };
}

/** Ids and terms of a database that requests are made of. */
export interface WorkloadMaterial {
  /** Sessions to read. */
  readonly sessionIds: readonly string[];
  /** Open sessions to append to, at least one. */
  readonly openSessionIds: readonly string[];
  /** A word of few messages. */
  readonly rareTerm: string;
  /** A word of about every twentieth message. */
  readonly commonTerm: string;
}

/** The name of one of the two servers. */
export type Side = 'raw' | 'ours';

const READERS = 16;
const WRITERS = 32;
/** No word of any text. */
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

/** The workloads of PERFORMANCE.md, those that write last. */
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
      // PERFORMANCE.md: 10 ms where few rows match or recent ones do. One client, so that it is the search and not the queue.
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
  // Each append makes another message: what must agree is the shape.
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

/** The same requests for each client, begun at different places, so that they do not march in step. */
function shared(clients: number, requests: readonly WorkloadRequest[]): (readonly WorkloadRequest[])[] {
  return Array.from({ length: clients }, (_, client) => {
    const from = Math.floor((client * requests.length) / clients);
    return [...requests.slice(from), ...requests.slice(0, from)];
  });
}

/** The bytes of a request for one of the servers. */
export function encodeRequest(request: WorkloadRequest, side: Side): Buffer {
  return side === 'ours' ? encodePost('/graphql', request.graphql) : encodePost(request.raw.path, request.raw.body);
}

/** @throws AssertionError showing the difference where the two servers do not answer the same */
export function assertSameAnswer(workload: Workload, answers: Readonly<Record<Side, unknown>>): void {
  const of = (side: Side) => {
    const data = dataOf(answers[side]);
    return workload.comparable === undefined ? data : workload.comparable(data);
  };
  deepStrictEqual(of('ours'), of('raw'), `${workload.name} (${workload.title}): the servers answer differently`);
}

/** What was asked for; what the server tells beside it, such as the cost of the query, the baseline does not know. */
function dataOf(answer: unknown): unknown {
  return typeof answer === 'object' && answer !== null && 'data' in answer ? answer.data : answer;
}
