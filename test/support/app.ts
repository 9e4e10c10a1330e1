import { createClient as createSseClient, type Client as SseClient } from 'graphql-sse';
import { createClient as createWsClient, type Client as WsClient } from 'graphql-ws';
import { pino } from 'pino';
import { afterAll, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type App, createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { EventLog, EventRequest } from '../../src/events/event-log.ts';
import type { EventType } from '../../src/events/event-payload.ts';
import type { RecordedStatement } from '../../src/postgres/database.ts';
import { type GqlAnswer, type ReceivedAnswer, toGqlAnswer } from './client.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { PATIENCE_MS, PATIENTLY } from './patience.ts';

/** How a test app is started. */
export interface TestAppOptions {
  /** Environment variables, as src/config.ts reads them. */
  readonly env?: Readonly<Record<string, string>>;
  /** A database of the test's own; by default a fresh clone of the template, dropped when the app is closed. */
  readonly databaseUrl?: string;
  /** How long a request waits for a connection to the database; by default, longer than a busy machine lets a crowd of writers wait. */
  readonly connectTimeoutMs?: number;
}

/** How one operation is sent. */
interface GqlOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly operationName?: string;
}

/** How a subscription is made. */
interface SubscribeOptions {
  readonly over?: 'ws' | 'sse';
  /** As `Authorization` says it. */
  readonly authorization?: string;
}

/** One result of a subscription. */
interface SubscriptionResult<Data> {
  readonly data?: Data | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: Record<string, unknown> }[];
}

/** A live subscription, read event by event. */
interface TestSubscription<Data> {
  /** The data of the next event, waiting for it. @throws Error where it has errors, or the stream has ended */
  next(): Promise<Data>;
  /** The next result as it came, errors and all; null where the stream has ended. */
  nextResult(): Promise<SubscriptionResult<Data> | null>;
  /** Ends it from the client's side. */
  close(): Promise<void>;
}

/** The real application on a free port and a database of its own. */
export interface TestApp {
  readonly app: App;
  /** Of GraphQL over HTTP and SSE. */
  readonly url: string;
  /** Of GraphQL over WebSocket. */
  readonly webSocketUrl: string;
  readonly databaseUrl: string;
  /** Every line of the log so far, parsed. */
  readonly log: readonly Record<string, unknown>[];
  /** Statements sent to the database since the start or the last `resetSql`. */
  readonly sql: readonly RecordedStatement[];
  resetSql(): void;
  /**
   * Sends an operation over HTTP. The type parameter says what the data looks like; nothing checks it.
   */
  gql<Data = Record<string, unknown>>(query: string, variables?: Record<string, unknown>, options?: GqlOptions): Promise<GqlAnswer<Data>>;
  /** Subscribes, and waits until the server listens for events: what is changed after that is delivered. */
  subscribe<Data = Record<string, unknown>>(
    query: string,
    variables?: Record<string, unknown>,
    options?: SubscribeOptions,
  ): Promise<TestSubscription<Data>>;
  /** A client of graphql-ws, connected when first used, without retries. */
  wsClient(authorization?: string): WsClient;
  /** A client of graphql-sse, without retries. */
  sseClient(authorization?: string): SseClient;
  /** Another application on the same database. */
  second(options?: Omit<TestAppOptions, 'databaseUrl'>): Promise<TestApp>;
  /** Stops it, its clients, the applications begun from it, and drops its database; to call it again changes nothing. */
  close(): Promise<void>;
}

/** In the order they were opened. */
const leftovers = new Set<TestApp>();

afterAll(async () => {
  for (const app of [...leftovers].reverse()) await app.close();
});

/** Tests do in a second what no caller should in a minute; those of the limits set their own. */
const UNLIMITED = { RATE_LIMIT_REQUESTS: '0', RATE_LIMIT_WRITES: '0', RATE_LIMIT_CREATIONS: '0', RATE_LIMIT_MANAGEMENT: '0' };

/** Sessions of tests are as old as they please; tests of the sweeper set their own. */
const UNSWEPT = { STALLED_AFTER: '3650d', TRASH_DAYS: '3650' };

/** Counts the streams of events that begin; how many are open would not tell, as others end meanwhile. */
function countStreams(events: EventLog): () => number {
  let begun = 0;
  const subscribe = events.subscribe.bind(events);
  events.subscribe = async <Types extends EventType>(request: EventRequest<Types>) => {
    const stream = await subscribe(request);
    begun += 1;
    return stream;
  };
  return () => begun;
}

/** Starts an application; what a test file leaves open is closed after it. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database: TestDatabase | null = options.databaseUrl === undefined ? await createTestDatabase() : null;
  const databaseUrl = options.databaseUrl ?? String(database?.url);
  const log: Record<string, unknown>[] = [];
  const statements: RecordedStatement[] = [];
  const disposals: (() => unknown)[] = [];
  const config = readConfig({ PORT: '0', DATABASE_POOL: '10', ...UNLIMITED, ...UNSWEPT, ...options.env });
  const app = await createApp({
    config,
    databaseUrl,
    connectTimeoutMs: options.connectTimeoutMs ?? PATIENCE_MS,
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
  });
  app.database.onStatement(statement => void statements.push(statement));
  const streamsBegun = countStreams(app.events);
  let lastBegun: Promise<unknown> = Promise.resolve();
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
    leftovers.delete(testApp);
    for (const dispose of disposals.reverse()) await dispose();
    await app.close();
    await database?.close();
  }

  async function begin<Data>(query: string, variables?: Record<string, unknown>, { over = 'ws', authorization }: SubscribeOptions = {}) {
    const before = streamsBegun();
    const request = { query, ...(variables === undefined ? {} : { variables }) };
    const stream = (
      over === 'ws' ? wsClient(authorization).iterate(request) : sseClient(authorization).iterate(request)
    ) as AsyncIterableIterator<SubscriptionResult<Data>>;
    const subscription = readStream(stream);
    // A subscription that is refused never comes to listen; its first result tells.
    await vi.waitUntil(() => streamsBegun() > before || subscription.hasResult(), PATIENTLY);
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
      const body = (await response.json()) as ReceivedAnswer<Data>['body'];
      return toGqlAnswer({ query, variables }, { status: response.status, body, sql: statements.slice(before) });
    },
    subscribe<Data>(query: string, variables?: Record<string, unknown>, subscribeOptions?: SubscribeOptions) {
      // One after the other, so that the stream that begins is that of this call.
      const begun = lastBegun.then(() => begin<Data>(query, variables, subscribeOptions));
      lastBegun = begun.catch(() => undefined);
      return begun;
    },
    wsClient,
    sseClient,
    async second(secondOptions = {}) {
      const other = await startTestApp({ ...secondOptions, databaseUrl });
      disposals.push(() => other.close());
      return other;
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
  leftovers.add(testApp);
  return testApp;
}

/** Reads one result ahead, so that it shows whether there is one. */
function readStream<Data>(stream: AsyncIterableIterator<SubscriptionResult<Data>>): TestSubscription<Data> & { hasResult(): boolean } {
  let settled = false;
  const pull = async (): Promise<SubscriptionResult<Data> | null> => {
    try {
      const next = await stream.next();
      return next.done === true ? null : next.value;
    } catch (error) {
      // The clients throw the errors of a request that is refused as a list.
      if (Array.isArray(error)) return { errors: error };
      throw error;
    } finally {
      settled = true;
    }
  };
  let ahead = pull();
  ahead.catch(() => undefined);

  async function nextResult(): Promise<SubscriptionResult<Data> | null> {
    const result = await ahead;
    settled = false;
    ahead = result === null ? Promise.resolve(null) : pull();
    ahead.catch(() => undefined);
    return result;
  }

  return {
    hasResult: () => settled,
    nextResult,
    async next() {
      const result = await nextResult();
      if (result === null) throw new Error('The subscription has ended.');
      if (result.errors !== undefined || result.data == null) throw new Error(`An event with errors: ${JSON.stringify(result, null, 2)}`);
      return result.data;
    },
    async close() {
      await stream.return?.();
    },
  };
}
