/** The number of attempts. Only the fastest counts, because other processes may slow an attempt down. */
const TRIES = 5;

const repeat = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');
const nest = (count: number, open: string, inside: string, close: string) => open.repeat(count) + inside + close.repeat(count);

/** An operation that is cheap to send and very expensive to execute or validate. */
export interface Bomb {
  readonly query: string;
  /** As JSON text. */
  readonly variables?: string;
  readonly code: string;
}

/** All bombs by name. */
export const BOMBS: Readonly<Record<string, Bomb>> = {
  'fields nested 2,000 deep': { query: `{ ${nest(2_000, 'a { ', 'b', ' }')} }`, code: 'QUERY_TOO_DEEP' },
  'fields nested 400,000 deep': { query: `{ ${nest(400_000, 'a{', 'b', '}')} }`, code: 'QUERY_TOO_DEEP' },
  'lists nested 4,900 deep': { query: `{ node(id: ${nest(4_900, '[', '', ']')}) { id } }`, code: 'QUERY_TOO_DEEP' },
  'input objects nested 600 deep': {
    query: `{ sessions(filter: ${nest(600, '{not:', '{}', '}')}) { totalCount } }`,
    code: 'QUERY_TOO_DEEP',
  },
  'input objects nested 100,000 deep in a variable': {
    query: 'query ($f: SessionFilter) { sessions(filter: $f) { totalCount } }',
    variables: `{"f":${nest(100_000, '{"not":', '{}', '}')}}`,
    code: 'QUERY_TOO_DEEP',
  },
  'JSON nested 200,000 deep in a variable': {
    query: 'mutation ($i: CreateSessionInput!) { createSession(input: $i) { created } }',
    variables: `{"i":{"metadata":{"a":${nest(200_000, '[', '', ']')}}}}`,
    code: 'QUERY_TOO_DEEP',
  },
  '9,000 fields side by side': { query: `{ ${repeat(9_000, () => 'sessions')} }`, code: 'QUERY_TOO_COMPLEX' },
  '10,000 aliases': { query: `{ ${repeat(10_000, i => `a${i}: serverInfo { version }`)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '2,000 aliases': { query: `{ ${repeat(1_900, i => `a${i}: serverInfo { version }`)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '1,000 aliases': { query: `{ ${repeat(1_000, i => `a${i}: serverInfo { version }`)} }`, code: 'QUERY_TOO_COMPLEX' },
  '500 directives': { query: `{ serverInfo ${repeat(500, () => '@skip(if: false)')} { version } }`, code: 'QUERY_TOO_COMPLEX' },
  'a cycle of two fragments': {
    query: '{ session(sessionId: "x") { ...a } } fragment a on Session { ...b } fragment b on Session { ...a }',
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  '60 fragments that all spread each other': {
    query:
      `{ session(sessionId: "x") { ...f0 } } ${repeat(60, i => `fragment f${i} on Session { ${repeat(60, j => `...f${j}`)} }`)}`.replaceAll(
        /\s+/g,
        ' ',
      ),
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  '450 fragments in long cycles': {
    query: `{ session(sessionId: "x") { ...f0 } } ${repeat(450, i => `fragment f${i} on Session { ${repeat(4, j => `...f${(i * 7 + j * 13 + 1) % 450}`)} }`)}`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'fragments that double 60 times': {
    query: `{ sessions { nodes { ...f0 } } } ${repeat(60, i => `fragment f${i} on Session { a: children(first: 9) { nodes { ...f${i + 1} } } b: children(first: 9) { nodes { ...f${i + 1} } } }`)} fragment f60 on Session { id }`,
    code: 'QUERY_TOO_COMPLEX',
  },
  'repeated fields that validation compares in pairs': {
    query: `{ ${repeat(190, () => `serverInfo { ${repeat(45, () => 'version')} }`)} }`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'pages of 100 x 100 x 100': {
    query: `{ sessions(first: 100) { nodes { messages(first: 100) { nodes { session { messages(first: 100) { nodes { id } } } } } } } }`,
    code: 'QUERY_TOO_COMPLEX',
  },
  'pages sized by variables': {
    query: `query ($n: Int) { sessions(first: $n) { nodes { messages(first: $n) { nodes { session { messages(first: $n) { nodes { id } } } } } } } }`,
    variables: '{"n":100}',
    code: 'QUERY_TOO_COMPLEX',
  },
  'introspection of types nested 30 deep': {
    query: `{ __schema { types { ${nest(30, 'fields { type { ', 'name', ' } }')} } } }`,
    code: 'QUERY_TOO_DEEP',
  },
  '1,000,000 tokens': { query: `{ ${'a '.repeat(1_000_000)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '500,000 ids': {
    query: 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }',
    variables: JSON.stringify({ ids: Array(500_000).fill('a') }),
    code: 'QUERY_TOO_COMPLEX',
  },
  '300,000 alternatives in a filter': {
    query: 'query ($f: SessionFilter) { sessions(filter: $f) { totalCount } }',
    variables: `{"f":{"or":[${Array(300_000).fill('{}').join(',')}]}}`,
    code: 'QUERY_TOO_COMPLEX',
  },
};

/** The JSON body of a request with the bomb. */
export function requestOf({ query, variables = '{}' }: Bomb): string {
  return `{"query":${JSON.stringify(query)},"variables":${variables}}`;
}

/**
 * Returns the duration of the fastest attempt in milliseconds. It counts the lower of wall-clock time and CPU time of this process, because
 * other processes may keep the CPU busy.
 * @param maxMs stops at the first attempt that takes less
 */
export async function quickestOf(maxMs: number, attempt: () => Promise<void>): Promise<number> {
  let quickest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < TRIES && quickest >= maxMs; i += 1) {
    const start = performance.now();
    const before = process.cpuUsage();
    await attempt();
    const { user, system } = process.cpuUsage(before);
    quickest = Math.min(quickest, performance.now() - start, (user + system) / 1_000);
  }
  return quickest;
}
