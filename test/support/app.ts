import { createClient as createSseClient, type Client as SseClient } from 'graphql-sse';
import { createClient as createWsClient, type Client as WsClient } from 'graphql-ws';
import { pino } from 'pino';
import { afterAll, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type App, createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { EventLog, EventRequest } from '../../src/events/event-log.ts';
import type { EventType } from '../../src/events/event-types.ts';
import type { RecordedStatement } from '../../src/postgres/database.ts';
import type { Tracer } from '../../src/postgres/tracing.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { type GqlResponse, type ReceivedResponse, toGqlResponse } from './graphql-response.ts';
import { TEST_WAIT_MS, WAIT_OPTIONS } from './wait-time.ts';

/** Options of `startTestApp`. */
export interface TestAppOptions {
  /** Environment variables for src/config.ts. */
  readonly env?: Readonly<Record<string, string>>;
  /** The database to use. By default a new clone of the template, which is dropped when the application is closed. */
  readonly databaseUrl?: string;
  /**
   * How long a request waits for a database connection, in milliseconds. The default is long enough for many concurrent writers on a
   * busy machine.
   */
  readonly connectTimeoutMs?: number;
  /** By default nothing is traced. */
  readonly tracer?: Tracer;
}

/** HTTP headers and the operation to run if the document has several. */
interface GqlOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly operationName?: string;
}

/** The transport and credentials of a subscription. */
interface SubscribeOptions {
  readonly over?: 'ws' | 'sse';
  /** The value of the `Authorization` header, or of `connectionParams` on a WebSocket. */
  readonly authorization?: string;
}

/** One execution result of a subscription. */
interface SubscriptionResult<Data> {
  readonly data?: Data | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: Record<string, unknown> }[];
}

/** A running subscription. */
interface TestSubscription<Data> {
  /** Waits for the next event and returns its data. @throws Error if the event has errors or the stream has ended */
  next(): Promise<Data>;
  /** Waits for the next result and returns it, including errors; null if the stream has ended. */
  nextResult(): Promise<SubscriptionResult<Data> | null>;
  /** Ends the subscription from the client. */
  close(): Promise<void>;
}

/** The real application on a free port. */
export interface TestApp {
  readonly app: App;
  /** The endpoint of GraphQL over HTTP and SSE. */
  readonly url: string;
  /** The endpoint of GraphQL over WebSocket. */
  readonly webSocketUrl: string;
  readonly databaseUrl: string;
  /** The parsed lines of the log so far. */
  readonly log: readonly Record<string, unknown>[];
  /** Statements sent to the database since the start, or since the last `resetSql`. */
  readonly sql: readonly RecordedStatement[];
  resetSql(): void;
  /** Sends an operation over HTTP. The type parameter is the expected shape of the data; nothing checks it. */
  gql<Data = Record<string, unknown>>(query: string, variables?: Record<string, unknown>, options?: GqlOptions): Promise<GqlResponse<Data>>;
  /** Subscribes, and resolves once the server listens for events: it delivers every change that is made after that. */
  subscribe<Data = Record<string, unknown>>(
    query: string,
    variables?: Record<string, unknown>,
    options?: SubscribeOptions,
  ): Promise<TestSubscription<Data>>;
  /** A graphql-ws client without retries. It connects when it is first used. */
  wsClient(authorization?: string): WsClient;
  /** A graphql-sse client without retries. */
  sseClient(authorization?: string): SseClient;
  /** Starts another application on the same database. */
  startSecondServer(options?: Omit<TestAppOptions, 'databaseUrl'>): Promise<TestApp>;
  /** Stops the application, its clients and the servers it started, and drops its database. Later calls have no effect. */
  close(): Promise<void>;
}

/** Applications that are not closed yet, oldest first. */
const openApps = new Set<TestApp>();

afterAll(async () => {
  for (const app of [...openApps].reverse()) await app.close();
});

/** Tests send more requests than the default limits allow. Tests of the limits set their own. */
const NO_RATE_LIMITS = { RATE_LIMIT_REQUESTS: '0', RATE_LIMIT_WRITES: '0', RATE_LIMIT_CREATIONS: '0', RATE_LIMIT_MANAGEMENT: '0' };

/** Keeps the sweeper away from old test sessions. Tests of the sweeper set their own values. */
const NO_SWEEPING = { STALLED_AFTER: '3650d', TRASH_DAYS: '3650' };

/** Counts the event streams ever opened. The number of open streams would not do, because other streams may end meanwhile. */
function countOpenedStreams(events: EventLog): () => number {
  let opened = 0;
  const subscribe = events.subscribe.bind(events);
  events.subscribe = async <Types extends EventType>(request: EventRequest<Types>) => {
    const stream = await subscribe(request);
    opened += 1;
    return stream;
  };
  return () => opened;
}

/** Starts an application. It is closed after the test file, if the test has not closed it. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database: TestDatabase | null = options.databaseUrl === undefined ? await createTestDatabase() : null;
  const databaseUrl = options.databaseUrl ?? String(database?.url);
  const log: Record<string, unknown>[] = [];
  const statements: RecordedStatement[] = [];
  const disposals: (() => unknown)[] = [];
  const config = readConfig({ PORT: '0', DATABASE_POOL: '10', ...NO_RATE_LIMITS, ...NO_SWEEPING, ...options.env });
  const app = await createApp({
    config,
    databaseUrl,
    connectTimeoutMs: options.connectTimeoutMs ?? TEST_WAIT_MS,
    tracer: options.tracer,
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
  });
  app.database.onStatement(statement => void statements.push(statement));
  const openedStreams = countOpenedStreams(app.events);
  let lastSubscribed: Promise<unknown> = Promise.resolve();
  const address = (await app.listen()).url;
  const url = `${address}/graphql`;
  const webSocketUrl = url.replace('http', 'ws');
  let closing: Promise<void> | null = null;

  function wsClient(authorization?: string): WsClient {
    const connectionParams = authorization === undefined ? {} : { authorization };
    const client = createWsClient({ url: webSocketUrl, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams });
    disposals.push(() => client.dispose());
    return client;
  }

  function sseClient(authorization?: string): SseClient {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const client = createSseClient({ url, retryAttempts: 0, headers });
    disposals.push(() => client.dispose());
    return client;
  }

  async function closeAll(): Promise<void> {
    openApps.delete(testApp);
    for (const dispose of disposals.reverse()) await dispose();
    await app.close();
    await database?.close();
  }

  async function subscribeNow<Data>(
    query: string,
    variables?: Record<string, unknown>,
    { over = 'ws', authorization }: SubscribeOptions = {},
  ) {
    const before = openedStreams();
    const request = { query, ...(variables === undefined ? {} : { variables }) };
    const stream = (
      over === 'ws' ? wsClient(authorization).iterate(request) : sseClient(authorization).iterate(request)
    ) as AsyncIterableIterator<SubscriptionResult<Data>>;
    const subscription = readStream(stream);
    // A refused subscription opens no event stream; it gives an error as its first result.
    await vi.waitUntil(() => openedStreams() > before || subscription.hasResult(), WAIT_OPTIONS);
    return subscription;
  }

  const testApp: TestApp = {
    app,
    url,
    webSocketUrl,
    databaseUrl,
    log,
    sql: statements,
    resetSql: () => void statements.splice(0),
    async gql<Data>(query: string, variables?: Record<string, unknown>, { headers, operationName }: GqlOptions = {}) {
      const before = statements.length;
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json', ...headers },
        body: JSON.stringify({ query, variables, operationName }),
      });
      const body = (await response.json()) as ReceivedResponse<Data>['body'];
      return toGqlResponse({ query, variables }, { status: response.status, body, sql: statements.slice(before) });
    },
    subscribe<Data>(query: string, variables?: Record<string, unknown>, subscribeOptions?: SubscribeOptions) {
      // Subscriptions are opened one at a time, so the next stream to be opened belongs to this call.
      const subscribed = lastSubscribed.then(() => subscribeNow<Data>(query, variables, subscribeOptions));
      lastSubscribed = subscribed.catch(() => undefined);
      return subscribed;
    },
    wsClient,
    sseClient,
    async startSecondServer(secondOptions = {}) {
      const other = await startTestApp({ ...secondOptions, databaseUrl });
      disposals.push(() => other.close());
      return other;
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
  openApps.add(testApp);
  return testApp;
}

/** Reads one result in advance; `hasResult` tells whether it has arrived. */
function readStream<Data>(stream: AsyncIterableIterator<SubscriptionResult<Data>>): TestSubscription<Data> & { hasResult(): boolean } {
  let settled = false;
  const pull = async (): Promise<SubscriptionResult<Data> | null> => {
    try {
      const next = await stream.next();
      return next.done === true ? null : next.value;
    } catch (error) {
      // For a refused request, the clients throw the list of its errors.
      if (Array.isArray(error)) return { errors: error };
      throw error;
    } finally {
      settled = true;
    }
  };
  let pending = pull();
  pending.catch(() => undefined);

  async function nextResult(): Promise<SubscriptionResult<Data> | null> {
    const result = await pending;
    settled = false;
    pending = result === null ? Promise.resolve(null) : pull();
    pending.catch(() => undefined);
    return result;
  }

  return {
    hasResult: () => settled,
    nextResult,
    async next() {
      const result = await nextResult();
      if (result === null) throw new Error('The subscription has ended.');
      if (result.errors !== undefined || result.data == null) throw new Error(`The event has errors: ${JSON.stringify(result, null, 2)}`);
      return result.data;
    },
    async close() {
      await stream.return?.();
    },
  };
}
