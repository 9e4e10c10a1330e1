import { once } from 'node:events';
import { buildSchema, GraphQLError, type GraphQLFieldResolver, GraphQLObjectType, type ValueNode, valueFromASTUntyped } from 'graphql';
import { pino } from 'pino';
import { DomainError } from '../../src/errors.ts';
import { OPEN_ACCESS } from '../../src/server/auth/authenticate.ts';
import type { OperationOrigin } from '../../src/server/graphql/execution.ts';
import type { PersistedDocuments } from '../../src/server/graphql/persisted-documents.ts';
import { createHttpServer, type HttpServer } from '../../src/server/http/http-server.ts';
import type { EventStreamTimeouts } from '../../src/server/live/event-stream.ts';

const SDL = /* GraphQL */ `
  scalar Even
  scalar Odd
  directive @twice repeatable on FIELD
  type PageInfo { hasNextPage: Boolean! }
  type Item { id: ID! children(first: Int, last: Int, filter: ItemFilter): ItemConnection! }
  type ItemEdge { cursor: String! node: Item! }
  type ItemConnection { edges: [ItemEdge!]! nodes: [Item!]! pageInfo: PageInfo! totalCount: Int! }
  input ItemFilter { search: String or: [ItemFilter!] not: ItemFilter metadata: Even }
  input PartInput { text: String! count: Int = 1 }
  input SaveInput { title: String! even: Even odds: [Odd!] tags: [String!] parts: [PartInput!] }
  type Query {
    hello(name: String): String!
    contextNumber: Int!
    even(of: Even!): Int
    fail(how: String!): String
    mustFail(how: String!): String!
    bigInt: Int
    waitForAbort: String
    item: Item!
    nodes(ids: [ID!]!): [Item]!
    items(first: Int, last: Int, filter: ItemFilter): ItemConnection!
    searchMessages(query: String!, first: Int): ItemConnection!
  }
  type Mutation { save(input: SaveInput!): String! waitForRelease: String! }
  type Tick { n: Int! contextNumber: Int! fail: String }
  type Subscription { ticks(upTo: Int, fail: String): Tick! never: Tick! refused: Tick! }
`;

/** The context of the stub schema's resolvers. */
interface StubContext {
  readonly number: number;
  readonly origin: OperationOrigin;
}

/** The real HTTP server over a stub schema, without a database. The schema's fields fail in every way that a resolver can. */
export interface StubServer {
  readonly url: string;
  readonly webSocketUrl: string;
  readonly http: HttpServer;
  /** The parsed lines of the server's log. */
  readonly log: Record<string, unknown>[];
  /** What the resolvers did so far: `ticks started`, `ticks ended`, `never started`, `waiting`, `aborted`, ... */
  readonly events: string[];
  /** Resolves once `events` contains the event. */
  waitForEvent(event: string): Promise<void>;
  /** The number of ticks that the server has pulled from the subscription's source. */
  ticksTaken(): number;
  /** Lets the pending `waitForRelease` mutation return. */
  releaseMutation(): void;
  /** Makes `createContext` throw this error; null makes it succeed again. */
  failContext(error: Error | null): void;
  /** The result of the readiness check; true at first. */
  ready: boolean;
  close(): Promise<void>;
}

const FAILURES: Record<string, () => unknown> = {
  domain: () => new DomainError('SESSION_NOT_FOUND', 'There is no session x.', { id: 'x' }),
  plain: () => new Error('secret: select * from passwords'),
  text: () => 'secret text',
  graphql: () => new GraphQLError('secret of a library'),
  timeout: () => Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' }),
  away: () => Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' }),
  shutdown: () => new Error('wrapped', { cause: { originalCode: '57P01' } }),
  pool: () => new Error('timeout exceeded when trying to connect'),
};

function throwFailure(how: unknown): never {
  throw FAILURES[String(how)]?.() ?? new Error(`There is no failure ${String(how)}.`);
}

/** Starts a stub server on a free port of the loopback address. */
export async function startStubServer(
  options: {
    limits?: Partial<Limits>;
    graphiql?: boolean;
    introspection?: boolean;
    corsOrigins?: readonly string[];
    /** The `HOST` in the server's configuration. The server listens on 127.0.0.1 in any case. */
    host?: string;
    documents?: PersistedDocuments;
    drainTimeoutMs?: number;
    webSockets?: { initTimeoutMs?: number; pingMs?: number };
    eventStreams?: EventStreamTimeouts;
  } = {},
): Promise<StubServer> {
  const events: string[] = [];
  const awaitedEvents = new Map<string, PromiseWithResolvers>();
  const log: Record<string, unknown>[] = [];
  let contexts = 0;
  let ticksTaken = 0;
  let contextError: Error | null = null;
  let releaseMutation: () => void = () => undefined;

  function record(event: string): void {
    events.push(event);
    awaitedEvents.get(event)?.resolve();
  }

  async function* ticks(upTo: number, how: unknown) {
    record('ticks started');
    try {
      for (let n = 1; n <= upTo; n += 1) {
        ticksTaken += 1;
        yield { n };
      }
      if (how !== undefined) throwFailure(how);
    } finally {
      record('ticks ended');
    }
  }

  const page = (_: unknown, args: Record<string, unknown>) => ({
    nodes: [],
    edges: [],
    totalCount: 0,
    pageInfo: { hasNextPage: false },
    args,
  });
  const resolvers: Record<string, Record<string, GraphQLFieldResolver<unknown, StubContext, Record<string, unknown>>>> = {
    Query: {
      hello: (_, { name }) => `hello ${String(name ?? 'world')}`,
      contextNumber: (_, __, { number }) => number,
      even: (_, { of }) => of,
      fail: (_, { how }) => throwFailure(how),
      mustFail: (_, { how }) => throwFailure(how),
      bigInt: () => 2 ** 40,
      waitForAbort: async (_, __, { origin }) => {
        record('waiting');
        await once(origin.signal, 'abort');
        record('aborted');
        return 'too late';
      },
      item: () => ({ id: '1' }),
      nodes: () => [],
      items: page,
      searchMessages: page,
    },
    Item: { children: page },
    Mutation: {
      save: (_, { input }) => JSON.stringify(input),
      waitForRelease: async () => {
        record('waiting for release');
        await new Promise<void>(resolve => {
          releaseMutation = resolve;
        });
        return 'released';
      },
    },
    Tick: { contextNumber: (_, __, { number }) => number, fail: () => throwFailure('plain') },
  };
  const subscriptions: Record<string, GraphQLFieldResolver<unknown, StubContext, Record<string, unknown>>> = {
    ticks: (_, { upTo, fail: how }) => ticks(Number(upTo ?? 3), how ?? undefined),
    never: (_, __, { origin }) => {
      origin.signal.addEventListener('abort', () => record('never aborted'));
      return (async function* () {
        record('never started');
        // A pending await: return() has no effect on the generator until it ends, which is never.
        await new Promise(() => undefined);
        yield { n: 1 };
      })();
    },
    refused: () => throwFailure('domain'),
  };

  const schema = buildSchema(SDL);
  for (const [name, fields] of Object.entries(resolvers)) {
    const type = schema.getType(name);
    if (!(type instanceof GraphQLObjectType)) continue;
    for (const [field, resolve] of Object.entries(fields)) Object.assign(type.getFields()[field] ?? {}, { resolve });
  }
  for (const [field, subscribe] of Object.entries(subscriptions)) {
    Object.assign(schema.getSubscriptionType()?.getFields()[field] ?? {}, { subscribe, resolve: (tick: unknown) => tick });
  }
  Object.assign(schema.getQueryType()?.getFields().items ?? {}, { extensions: { pageSize: { default: 50, max: 500 } } });
  const parseValue = (value: unknown) => {
    if (Number(value) % 2 === 0) return Number(value);
    throw new DomainError('BAD_USER_INPUT', 'Even must be even.', { given: value });
  };
  Object.assign(schema.getType('Even') ?? {}, { parseValue, parseLiteral: (node: ValueNode) => parseValue(valueFromASTUntyped(node)) });

  Object.assign(schema.getType('Odd') ?? {}, {
    parseLiteral: (node: ValueNode) => {
      if (Number(valueFromASTUntyped(node)) % 2 === 1) return 1;
      throw new GraphQLError('Odd must be odd.');
    },
  });

  const http = createHttpServer({
    schema,
    authenticator: { isOpen: () => true, authenticate: async () => OPEN_ACCESS },
    createContext: origin => {
      if (contextError !== null) throw contextError;
      contexts += 1;
      return { number: contexts, origin };
    },
    config: {
      limits: { maxQueryCost: 20_000, maxQueryDepth: 20, requestTimeoutMs: 30_000, maxResponseBytes: 32 * 1024 * 1024, ...options.limits },
      host: options.host ?? '127.0.0.1',
      graphiql: options.graphiql ?? true,
      introspection: options.introspection ?? true,
      corsOrigins: options.corsOrigins ?? [],
    },
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
    isReady: () => server.ready,
    drainTimeoutMs: options.drainTimeoutMs ?? 60_000,
    webSockets: options.webSockets,
    eventStreams: options.eventStreams,
    documents: options.documents,
  });
  const url = await http.listen(0, '127.0.0.1');
  const server: StubServer = {
    url: `${url}/graphql`,
    webSocketUrl: `${url.replace('http', 'ws')}/graphql`,
    http,
    log,
    events,
    async waitForEvent(event) {
      if (events.includes(event)) return;
      const awaited = awaitedEvents.get(event) ?? withResolvers();
      awaitedEvents.set(event, awaited);
      await awaited.promise;
    },
    ticksTaken: () => ticksTaken,
    releaseMutation: () => releaseMutation(),
    failContext: error => {
      contextError = error;
    },
    ready: true,
    close: () => http.close(),
  };
  return server;
}

interface Limits {
  readonly maxQueryCost: number;
  readonly maxQueryDepth: number;
  readonly requestTimeoutMs: number;
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>(settle => {
    resolve = settle;
  });
  return { promise, resolve };
}
