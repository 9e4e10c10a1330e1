import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import { type Config, isLoopback } from '../../config.ts';
import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { ResponseMemory } from '../../postgres/response-memory.ts';
import type { Tracer } from '../../postgres/tracing.ts';
import type { Authenticator } from '../auth/authenticate.ts';
import { createRateGate } from '../auth/rate-gate.ts';
import type { RateLimiter } from '../auth/rate-limiter.ts';
import { createDocumentCache } from '../graphql/document-cache.ts';
import { createErrorModel } from '../graphql/error-model.ts';
import type { ContextFactory, ExecutionOptions } from '../graphql/execution.ts';
import { createOperationPreparer } from '../graphql/operation-preparer.ts';
import { createOperationRunner } from '../graphql/operation-runner.ts';
import { createPersistedDocuments, type PersistedDocuments } from '../graphql/persisted-documents.ts';
import { createGraphQLYoga, GRAPHQL_PATH } from '../graphql/yoga.ts';
import { createEventLimit } from '../live/event-limit.ts';
import type { EventStreamTimeouts } from '../live/event-stream.ts';
import { createSharedExecution } from '../live/shared-execution.ts';
import { createWebSocketTransport, type WebSocketOptions } from '../live/websocket.ts';
import type { Metrics } from '../observe/metrics.ts';
import { createOperationWatch } from '../observe/operation-watch.ts';
import { createRequestLog } from '../observe/request-log.ts';
import { createGraphQLHandler } from './graphql-handler.ts';
import { createHealth, type Health } from './health.ts';
import { createJsonOperationHandler } from './json-operation.ts';
import { createListener } from './listener.ts';
import { createMetricsHandler } from './metrics-handler.ts';
import { createOriginCheck } from './origin-check.ts';
import { GRAPHIQL_ASSET, GRAPHIQL_POLICY } from './pages/graphiql.ts';
import { servePage } from './pages/page.ts';
import { sendError, sendText } from './responses.ts';
import { findRoute, pathOf, type RequestHandler, type Route } from './routes.ts';
import { setSecurityHeaders } from './security-headers.ts';

/**
 * Maximum concurrent executions for subscription events while little memory is in use: enough for the two shared statements of 32 keys that
 * may run at the same time.
 */
const MAX_CONCURRENT_EVENTS = 64;

/** What the server needs. */
export interface HttpServerOptions {
  readonly schema: GraphQLSchema;
  readonly createContext: ContextFactory;
  readonly authenticator: Authenticator;
  readonly config: Pick<Config, 'host' | 'limits' | 'graphiql' | 'introspection' | 'corsOrigins'>;
  /** Bounds the memory of responses; without it they are not bounded. */
  readonly memory?: ResponseMemory;
  /** Trusted documents. By default there are none. */
  readonly documents?: PersistedDocuments;
  /** By default there are no rate limits. */
  readonly rateLimiter?: RateLimiter;
  readonly log: Logger;
  /** By default nothing is traced. */
  readonly tracer?: Tracer;
  /** Whether the database answers, for `/readyz`. */
  readonly isReady: () => boolean | Promise<boolean>;
  /** Counts operations, and is served at `/metrics`. */
  readonly metrics?: Metrics;
  /** Maximum concurrent executions for subscription events, over all subscribers, while much memory is in use. */
  readonly maxConcurrentEvents?: number;
  /** `close` cuts connections that are still open after this time. */
  readonly drainTimeoutMs?: number;
  /** Timeouts of WebSockets. */
  readonly webSockets?: Pick<WebSocketOptions, 'initTimeoutMs' | 'pingMs'>;
  /** Timeouts of event streams. */
  readonly eventStreams?: EventStreamTimeouts;
}

/** GraphQL over HTTP, SSE and WebSocket and GraphiQL at `/graphql`; `/livez`, `/readyz` (also `/health`) and `/metrics`. */
export interface HttpServer {
  /**
   * Starts to accept connections.
   * @param port 0 picks a free port
   * @returns the address as a URL without a path, such as `http://127.0.0.1:4000`
   * @throws Node's error, such as EADDRINUSE
   */
  listen(port: number, host: string): Promise<string>;
  /** Answers `/readyz` with 503 from now on but still serves requests, so load balancers stop sending them before `close` begins. */
  withdraw(): void;
  /**
   * Drains the server: accepts no new connections, finishes running requests, ends SSE streams, closes WebSockets with 1001, and cuts
   * what is still open after the timeout. Resolves when nothing is open any more.
   */
  close(): Promise<void>;
}

/** Yoga does not accept the trailing slash that some clients and people add to its path. */
function dropTrailingSlash(request: IncomingMessage): void {
  if (pathOf(request) === `${GRAPHQL_PATH}/`) request.url = request.url?.replace(`${GRAPHQL_PATH}/`, GRAPHQL_PATH);
}

function createReadinessHandler(health: Health): RequestHandler {
  return async (_request, response) => {
    const state = await health.state();
    sendText(response, state === 'ready' ? 200 : 503, `${state}\n`);
  };
}

const sendLiveness: RequestHandler = (_request, response) => sendText(response, 200, 'ok\n');

const redirectToGraphQL: RequestHandler = (_request, response) => {
  response.writeHead(302, { location: GRAPHQL_PATH }).end();
};

/** Puts the server together from its transports. It does not listen yet. */
export function createHttpServer({
  schema,
  createContext,
  authenticator,
  config,
  log,
  tracer,
  isReady,
  metrics,
  memory,
  documents = createPersistedDocuments(new Map(), false),
  rateLimiter,
  maxConcurrentEvents = 10,
  drainTimeoutMs = 10_000,
  webSockets: webSocketTimeouts,
  eventStreams,
}: HttpServerOptions): HttpServer {
  const draining = new AbortController();
  // Every event stream adds a listener.
  setMaxListeners(0, draining.signal);
  let isWithdrawn = false;
  const errors = createErrorModel(log);
  const health = createHealth({ isReachable: isReady });
  const watch = createOperationWatch([createRequestLog(log), ...(metrics === undefined ? [] : [metrics])], tracer);
  const execution: ExecutionOptions = {
    createContext,
    errors,
    timeoutMs: config.limits.requestTimeoutMs,
    shared: createSharedExecution(),
    limitEvents: createEventLimit({
      always: maxConcurrentEvents,
      most: Math.max(maxConcurrentEvents, MAX_CONCURRENT_EVENTS),
      hasMemory: () => memory === undefined || memory.usedBytes() <= memory.maxBytes,
    }),
    memory,
  };
  const originCheck = createOriginCheck({
    isLoopback: isLoopback(config.host),
    isAuthenticated: () => !isLoopback(config.host) || !authenticator.isOpen(),
    origins: config.corsOrigins,
  });
  const parsed = createDocumentCache<DocumentNode>();
  const rates = rateLimiter && createRateGate(rateLimiter, parsed);
  const runner = createOperationRunner({
    execution,
    rates,
    maxCost: config.limits.maxQueryCost,
    hideSuggestions: !config.introspection,
  });
  const yoga = createGraphQLYoga({
    schema,
    errors,
    runner,
    originCheck,
    documents,
    rates,
    parsed,
    eventStreams,
    limits: config.limits,
    introspection: config.introspection,
  });
  const preparer = createOperationPreparer({ yoga, schema, documents, rates, errors });
  const serveJson = createJsonOperationHandler({ runner, preparer });
  const webSockets = createWebSocketTransport({
    ...webSocketTimeouts,
    authenticator,
    runner,
    preparer,
    errors,
    log,
    watch,
    limits: metrics,
  });

  const readiness = createReadinessHandler(health);
  const graphiql = servePage({ path: GRAPHQL_PATH, assets: [GRAPHIQL_ASSET], policy: GRAPHIQL_POLICY });
  /** The first matching route serves the request. */
  const routes: readonly Route[] = [
    { method: '*', path: '/livez', isPublic: true, handler: sendLiveness },
    { method: '*', path: '/readyz', isPublic: true, handler: readiness },
    { method: '*', path: '/health', isPublic: true, handler: readiness },
    ...(metrics === undefined ? [] : [{ method: '*', path: '/metrics', handler: createMetricsHandler(metrics, authenticator) } as const]),
    ...(config.graphiql ? graphiql : []),
    {
      method: '*',
      path: GRAPHQL_PATH,
      setsSecurityHeaders: true,
      handler: createGraphQLHandler({ yoga, serveJson, errors, watch, authenticator, draining: draining.signal }),
    },
    { method: 'GET', path: '/', handler: redirectToGraphQL },
  ];

  function handleRequest(request: IncomingMessage, response: ServerResponse): void | Promise<void> {
    dropTrailingSlash(request);
    const route = findRoute(routes, request);
    const problem = route?.isPublic === true ? null : originCheck.findProblem(request);
    if (problem !== null || route?.setsSecurityHeaders !== true) setSecurityHeaders(response);
    if (problem === null && route !== undefined) return route.handler(request, response);
    request.resume();
    if (problem !== null) sendError(request, response, new DomainError('FORBIDDEN', problem));
    else sendText(response, 404, `There is nothing at this address; GraphQL is at ${GRAPHQL_PATH}.\n`);
    return undefined;
  }

  /** The status line that rejects a WebSocket; null to accept it. */
  function upgradeRejection(request: IncomingMessage): string | null {
    if (draining.signal.aborted) return '503 Service Unavailable';
    dropTrailingSlash(request);
    if (pathOf(request) !== GRAPHQL_PATH) return '404 Not Found';
    return originCheck.findProblem(request) === null ? null : '403 Forbidden';
  }

  function handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const rejection = upgradeRejection(request);
    if (rejection === null) {
      webSockets.upgrade(request, socket, head);
      return;
    }
    socket.on('error', () => socket.destroy());
    socket.end(`HTTP/1.1 ${rejection}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  const listener = createListener({ onRequest: handleRequest, onUpgrade: handleUpgrade, draining: draining.signal, log });

  return {
    listen: (port, host) => listener.listen(port, host),
    withdraw() {
      isWithdrawn = true;
      health.drain();
    },
    async close() {
      health.drain();
      draining.abort();
      const timer = setTimeout(() => {
        webSockets.terminate();
        listener.closeAllConnections();
      }, drainTimeoutMs);
      await Promise.all([listener.close({ lingers: isWithdrawn }), webSockets.close()]);
      clearTimeout(timer);
    },
  };
}
