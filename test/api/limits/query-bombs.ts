/** Of so many tries the quickest counts: what else runs on the machine is not the bomb's doing. */
const TRIES = 5;

const many = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');
const within = (count: number, open: string, inside: string, close: string) => open.repeat(count) + inside + close.repeat(count);

/** An operation that would cost the server far more than its sender, were it run or taken apart. */
export interface Bomb {
  readonly query: string;
  /** JSON. */
  readonly variables?: string;
  readonly code: string;
}

/** By name. */
export const BOMBS: Readonly<Record<string, Bomb>> = {
  'fields 2,000 deep': { query: `{ ${within(2_000, 'a { ', 'b', ' }')} }`, code: 'QUERY_TOO_DEEP' },
  'fields 400,000 deep': { query: `{ ${within(400_000, 'a{', 'b', '}')} }`, code: 'QUERY_TOO_DEEP' },
  'lists 4,900 deep': { query: `{ node(id: ${within(4_900, '[', '', ']')}) { id } }`, code: 'QUERY_TOO_DEEP' },
  'input objects 600 deep': { query: `{ sessions(filter: ${within(600, '{not:', '{}', '}')}) { totalCount } }`, code: 'QUERY_TOO_DEEP' },
  'input objects 100,000 deep in a variable': {
    query: 'query ($f: SessionFilter) { sessions(filter: $f) { totalCount } }',
    variables: `{"f":${within(100_000, '{"not":', '{}', '}')}}`,
    code: 'QUERY_TOO_DEEP',
  },
  'JSON 200,000 deep in a variable': {
    query: 'mutation ($i: CreateSessionInput!) { createSession(input: $i) { created } }',
    variables: `{"i":{"metadata":{"a":${within(200_000, '[', '', ']')}}}}`,
    code: 'QUERY_TOO_DEEP',
  },
  '9,000 fields side by side': { query: `{ ${many(9_000, () => 'sessions')} }`, code: 'QUERY_TOO_COMPLEX' },
  '10,000 aliases': { query: `{ ${many(10_000, i => `a${i}: serverInfo { version }`)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '2,000 aliases': { query: `{ ${many(1_900, i => `a${i}: serverInfo { version }`)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '1,000 aliases': { query: `{ ${many(1_000, i => `a${i}: serverInfo { version }`)} }`, code: 'QUERY_TOO_COMPLEX' },
  '500 directives': { query: `{ serverInfo ${many(500, () => '@skip(if: false)')} { version } }`, code: 'QUERY_TOO_COMPLEX' },
  'fragments in a circle': {
    query: '{ session(sessionId: "x") { ...a } } fragment a on Session { ...b } fragment b on Session { ...a }',
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'fragments in all circles there are among 60': {
    query:
      `{ session(sessionId: "x") { ...f0 } } ${many(60, i => `fragment f${i} on Session { ${many(60, j => `...f${j}`)} }`)}`.replaceAll(
        /\s+/g,
        ' ',
      ),
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  '450 fragments in long circles': {
    query: `{ session(sessionId: "x") { ...f0 } } ${many(450, i => `fragment f${i} on Session { ${many(4, j => `...f${(i * 7 + j * 13 + 1) % 450}`)} }`)}`,
    code: 'GRAPHQL_VALIDATION_FAILED',
  },
  'fragments that double 60 times': {
    query: `{ sessions { nodes { ...f0 } } } ${many(60, i => `fragment f${i} on Session { a: children(first: 9) { nodes { ...f${i + 1} } } b: children(first: 9) { nodes { ...f${i + 1} } } }`)} fragment f60 on Session { id }`,
    code: 'QUERY_TOO_COMPLEX',
  },
  'one field again and again, to be compared pair by pair': {
    query: `{ ${many(190, () => `serverInfo { ${many(45, () => 'version')} }`)} }`,
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
  'introspection in a circle': {
    query: `{ __schema { types { ${within(30, 'fields { type { ', 'name', ' } }')} } } }`,
    code: 'QUERY_TOO_DEEP',
  },
  '1,000,000 tokens': { query: `{ ${'a '.repeat(1_000_000)} }`, code: 'GRAPHQL_PARSE_FAILED' },
  '500,000 ids': {
    query: 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }',
    variables: JSON.stringify({ ids: Array(500_000).fill('a') }),
    code: 'QUERY_TOO_COMPLEX',
  },
  '300,000 alternatives of a filter': {
    query: 'query ($f: SessionFilter) { sessions(filter: $f) { totalCount } }',
    variables: `{"f":{"or":[${Array(300_000).fill('{}').join(',')}]}}`,
    code: 'QUERY_TOO_COMPLEX',
  },
};

/** The bomb as a request carries it: JSON. */
export function requestOf({ query, variables = '{}' }: Bomb): string {
  return `{"query":${JSON.stringify(query)},"variables":${variables}}`;
}

/**
 * What the shortest of some tries takes, in milliseconds: of the clock or of this process on the processor, whichever is less, for
 * others may keep the processor busy.
 * @param most a try that takes less ends it
 */
export async function quickestOf(most: number, attempt: () => Promise<void>): Promise<number> {
  let quickest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < TRIES && quickest >= most; i += 1) {
    const start = performance.now();
    const before = process.cpuUsage();
    await attempt();
    const { user, system } = process.cpuUsage(before);
    quickest = Math.min(quickest, performance.now() - start, (user + system) / 1_000);
  }
  return quickest;
}
