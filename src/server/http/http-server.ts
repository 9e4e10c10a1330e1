import { randomUUID } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import pLimit from 'p-limit';
import { type Config, isLoopback } from '../../config.ts';
import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { assertScope } from '../../modules/viewer/viewer.rules.ts';
import type { ResponseMemory } from '../../postgres/response-memory.ts';
import type { Tracer } from '../../postgres/tracer.ts';
import { type Access, type Authenticator, NO_ACCESS } from '../auth/authenticate.ts';
import { createRateGate } from '../auth/rate-gate.ts';
import type { RateLimiter } from '../auth/rate-limiter.ts';
import { createDocumentCache } from '../graphql/document-cache.ts';
import { createErrorModel, type ErrorModel, statusOf, toErrorAnswer, toFailure } from '../graphql/error-model.ts';
import type { ContextFactory, ExecutionOptions, OperationOrigin } from '../graphql/execution.ts';
import { createPersistedDocuments, type PersistedDocuments } from '../graphql/persisted-documents.ts';
import type { TransportContext } from '../graphql/plugins/use-execution.ts';
import { createGraphQLYoga, GRAPHQL_PATH, type GraphQLYoga } from '../graphql/yoga.ts';
import type { EventStreamPace } from '../live/event-stream.ts';
import { createSharedExecution } from '../live/shared-execution.ts';
import { createWebSocketTransport, type WebSocketOptions } from '../live/websocket.ts';
import type { Metrics } from '../observe/metrics.ts';
import { createOperationWatch, type WatchOperation } from '../observe/operation-watch.ts';
import { createRequestLog } from '../observe/request-log.ts';
import { GRAPHIQL_POLICY, loadGraphiQL } from './graphiql.ts';
import { createHealth } from './health.ts';
import { setRateLimitHeaders } from './rate-limit-headers.ts';
import { isGraphQLContent, leaveUnread, readRequestBody } from './request-body.ts';
import { createRequestGuard, isLocalPeer } from './request-guard.ts';
import { setSecurityHeaders } from './security-headers.ts';
import { traceHeadersOf } from './trace-headers.ts';

/** What the server is made of. */
export interface HttpServerOptions {
  readonly schema: GraphQLSchema;
  readonly createContext: ContextFactory;
  readonly authenticator: Authenticator;
  readonly config: Pick<Config, 'host' | 'limits' | 'graphiql' | 'introspection' | 'corsOrigins'>;
  /** Bounds the memory of responses; without it they are not bounded. */
  readonly memory?: ResponseMemory;
  /** Trusted documents; none where left out. */
  readonly documents?: PersistedDocuments;
  /** Left out, callers may do as much as they like. */
  readonly rateLimiter?: RateLimiter;
  readonly log: Logger;
  /** Left out, nothing is traced. */
  readonly tracer?: Tracer;
  /** Whether the database answers; `/readyz` asks it. */
  readonly isReady: () => boolean | Promise<boolean>;
  /** Counts, and is served at `/metrics`. */
  readonly metrics?: Metrics;
  /** How many answers to events of subscriptions are made at once, for all subscribers together. */
  readonly maxConcurrentEvents?: number;
  /** What is still open so long after `close()` is cut. */
  readonly drainTimeoutMs?: number;
  /** How soon a WebSocket must be initialised, and how often it is pinged. */
  readonly webSockets?: Pick<WebSocketOptions, 'initTimeoutMs' | 'pingMs'>;
  /** How often event streams give a sign of life, and when a client that does not read is cut. */
  readonly eventStreams?: EventStreamPace;
}

/** The server: GraphQL over HTTP, SSE and WebSocket and GraphiQL at `/graphql`; `/livez`, `/readyz` (also `/health`) and `/metrics`. */
export interface HttpServer {
  /**
   * Starts to take connections.
   * @param port 0 takes a free one
   * @returns the address as a URL without path, such as `http://127.0.0.1:4000`
   * @throws the error of node, such as EADDRINUSE
   */
  listen(port: number, host: string): Promise<string>;
  /** From now on `/readyz` is 503, while requests are still taken: for balancers to look elsewhere before `close` begins. */
  withdraw(): void;
  /**
   * Drains: takes no new connections, lets requests under way finish, ends SSE streams, closes WebSockets with 1001, and cuts
   * what is left when the time is up. Resolves when nothing is open any more.
   */
  close(): Promise<void>;
}

const METRICS_PATH = '/metrics';

const LINGER_MS = 500;

/** After so long it is asked again whether a caller is let in. */
const ENTRY_MS = 500;

/** A request has come whole by then, or its connection is cut: slow senders are not to hold connections and memory for minutes. */
const RECEIVE_TIMEOUT_MS = 60_000;

const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** The request's own name for itself where it has a sane one. */
function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

/** What an EventSource sends when it connects again: the `id` of the last event it has. */
function lastEventIdOf({ headers }: IncomingMessage): string | undefined {
  const id = headers['last-event-id'];
  return typeof id === 'string' && id !== '' ? id : undefined;
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1).join();
}

/** Yoga knows its path without the slash that some clients and people put behind it. */
function dropTrailingSlash(request: IncomingMessage): void {
  if (pathOf(request) === `${GRAPHQL_PATH}/`) request.url = request.url?.replace(`${GRAPHQL_PATH}/`, GRAPHQL_PATH);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

/** A failure told before GraphQL is reached; the status is the failure's, as for any request that is not well formed. */
function sendFailure(request: IncomingMessage, response: ServerResponse, failure: DomainError, status = statusOf(failure.code)): void {
  const type = request.headers.accept?.includes('application/graphql-response+json')
    ? 'application/graphql-response+json'
    : 'application/json';
  if (failure.code === 'UNAUTHORIZED') response.setHeader('www-authenticate', 'Bearer');
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(JSON.stringify(toErrorAnswer(failure)));
}

async function sendGraphiQL(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { html, gzipped, etag } = await loadGraphiQL();
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': GRAPHIQL_POLICY,
    'cache-control': 'no-cache',
    etag,
    vary: 'accept, accept-encoding',
  };
  if (request.headers['if-none-match'] === etag) response.writeHead(304, headers).end();
  else if (/\bgzip\b/.test(String(request.headers['accept-encoding'])))
    response.writeHead(200, { ...headers, 'content-encoding': 'gzip' }).end(gzipped);
  else response.writeHead(200, headers).end(html);
}

interface GraphQLServing {
  readonly yoga: GraphQLYoga;
  readonly errors: ErrorModel;
  readonly watch: WatchOperation;
  readonly ending: AbortSignal;
  readonly authenticator: Authenticator;
}

/** Who was let in, or why nobody was. */
interface Entry {
  readonly access: Access;
  readonly refusal?: unknown;
}

async function enter(authenticator: Authenticator, request: IncomingMessage): Promise<Entry> {
  try {
    return { access: await authenticator.authenticate(request.headers.authorization ?? null) };
  } catch (refusal) {
    return { access: NO_ACCESS, refusal };
  }
}

/** Hands a request to Yoga, a POST with its body read; nothing is kept of what somebody sends who was not let in. */
async function serveGraphQL(
  { yoga, errors, watch, ending, authenticator }: GraphQLServing,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const requestId = requestIdOf(request);
  response.setHeader('x-request-id', requestId);
  const watched = watch({ requestId, transport: 'http', headers: traceHeadersOf(request.headers) });
  const refuse = (failure: DomainError, status?: number) => {
    watched.ends([failure]);
    sendFailure(request, response, failure, status);
  };
  if (request.method === 'POST' && !isGraphQLContent(request)) {
    request.resume();
    return refuse(new DomainError('BAD_USER_INPUT', 'Send the request as application/json.'), 415);
  }
  let entry = await enter(authenticator, request);
  if (request.method === 'POST') {
    const enteredAt = performance.now();
    try {
      Object.assign(request, { body: entry.refusal === undefined ? await readRequestBody(request) : leaveUnread(request) });
    } catch (error) {
      if (error instanceof DomainError) return refuse(error);
      // The client went away while it sent.
      response.destroy();
      return undefined;
    }
    // While a slow client sent, its key may have been revoked.
    if (performance.now() - enteredAt > ENTRY_MS) entry = await enter(authenticator, request);
  }
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  const { access, refusal } = entry;
  const onRateLimits: OperationOrigin['onRateLimits'] = (states, isRefused) => setRateLimitHeaders(response, states, isRefused);
  const resumeAfter = lastEventIdOf(request);
  const untilSent: OperationOrigin['untilSent'] = release => {
    if (response.closed) release();
    else response.once('close', release);
  };
  const origin: OperationOrigin = { requestId, signal: gone.signal, access, resumeAfter, watch: watched, onRateLimits, untilSent };
  const context: TransportContext = {
    origin,
    refusal,
    ending,
    client: { isFull: () => response.writableNeedDrain, cut: () => response.destroy() },
  };
  try {
    await watched.within(() => yoga(request, response, context));
  } catch (error) {
    const failure = errors.present(error, { requestId });
    watched.ends([failure]);
    const { message, extensions } = failure;
    if (response.headersSent) response.destroy();
    else sendText(response, 500, `${message} ${String(extensions.errorId)}`);
  }
  return undefined;
}

/**
 * Figures are for those who run the server: programs on this machine, though not what a proxy here sends on, and whoever may read
 * everything. A credential that is shown decides.
 * @throws DomainError UNAUTHORIZED, FORBIDDEN without READ and for those bound to agents, SERVICE_UNAVAILABLE
 */
async function assertMayReadMetrics(request: IncomingMessage, authenticator: Authenticator): Promise<void> {
  const { authorization = null } = request.headers;
  const isLocal = isLocalPeer(request);
  if (isLocal && (authorization === null || authenticator.isOpen())) return;
  if (authenticator.isOpen()) throw new DomainError('FORBIDDEN', 'Without authentication metrics are served on this machine only.');
  const { viewer } = await authenticator.authenticate(authorization);
  assertScope(viewer, 'READ', 'to read metrics');
  if (viewer.agentIds !== null) throw new DomainError('FORBIDDEN', 'Metrics count over all agents, and this key is bound to some.');
}

async function sendMetrics(
  { metrics, authenticator }: { readonly metrics: Metrics; readonly authenticator: Authenticator },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    await assertMayReadMetrics(request, authenticator);
  } catch (error) {
    const failure = toFailure(error);
    if (failure === null) throw error;
    return sendFailure(request, response, failure);
  }
  const { contentType, text } = await metrics.render();
  response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text);
}

/** Lets the operation's watch know for whom it is. */
function tellingViewer(createContext: ContextFactory): ContextFactory {
  return async origin => {
    const context = await createContext(origin);
    if ('viewer' in context) origin.watch?.seenBy(nameOf(context.viewer));
    return context;
  };
}

function nameOf(viewer: unknown): string {
  return typeof viewer === 'object' && viewer !== null && 'name' in viewer ? String(viewer.name) : 'unknown';
}

/** Puts the transports together; importing this file does nothing. */
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
  webSockets: pace,
  eventStreams,
}: HttpServerOptions): HttpServer {
  const errors = createErrorModel(log);
  const health = createHealth({ isReachable: isReady });
  const watch = createOperationWatch([createRequestLog(log), ...(metrics === undefined ? [] : [metrics])], tracer);
  let withdrawn = false;
  const draining = new AbortController();
  // Each stream listens.
  setMaxListeners(0, draining.signal);
  const execution: ExecutionOptions = {
    createContext: tellingViewer(createContext),
    errors,
    timeoutMs: config.limits.requestTimeoutMs,
    shared: createSharedExecution(),
    limitEvents: pLimit(maxConcurrentEvents),
    memory,
  };
  const guard = createRequestGuard({
    loopback: isLoopback(config.host),
    authenticated: () => !isLoopback(config.host) || !authenticator.isOpen(),
    origins: config.corsOrigins,
  });
  const parsed = createDocumentCache<DocumentNode>();
  const rates = rateLimiter && createRateGate(rateLimiter, parsed);
  const yoga = createGraphQLYoga({
    schema,
    limits: config.limits,
    errors,
    execution,
    guard,
    documents,
    rates,
    parsed,
    eventStreams,
    introspection: config.introspection,
  });
  const webSockets = createWebSocketTransport({ ...pace, authenticator, yoga, errors, log, watch, documents, rates, limits: metrics });

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (draining.signal.aborted) response.setHeader('connection', 'close');
    setSecurityHeaders(response);
    dropTrailingSlash(request);
    const path = pathOf(request);
    if (path === '/livez') return sendText(response, 200, 'ok\n');
    if (path === '/readyz' || path === '/health') {
      const state = await health.state();
      return sendText(response, state === 'ready' ? 200 : 503, `${state}\n`);
    }
    const stranger = guard.findStranger(request);
    if (stranger !== null) {
      request.resume();
      return sendFailure(request, response, new DomainError('FORBIDDEN', stranger));
    }
    if (path === METRICS_PATH && metrics !== undefined) return sendMetrics({ metrics, authenticator }, request, response);
    if (path === GRAPHQL_PATH) {
      const wantsPage = request.method === 'GET' && request.headers.accept?.includes('text/html') === true;
      if (wantsPage && config.graphiql) return sendGraphiQL(request, response);
      return serveGraphQL({ yoga, errors, watch, ending: draining.signal, authenticator }, request, response);
    }
    if (path === '/' && request.method === 'GET') {
      response.writeHead(302, { location: GRAPHQL_PATH }).end();
      return undefined;
    }
    request.resume();
    return sendText(response, 404, `There is nothing here; GraphQL is at ${GRAPHQL_PATH}.\n`);
  }

  // Some clients offer HTTP/2 with every request; from Node 24.9 on such an offer may be passed over, before it ends the connection.
  const serverOptions: ServerOptions & { shouldUpgradeCallback(request: IncomingMessage): boolean } = {
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    requestTimeout: RECEIVE_TIMEOUT_MS,
    headersTimeout: RECEIVE_TIMEOUT_MS / 2,
  };
  const server: Server = createServer(serverOptions, (request, response) => {
    route(request, response).catch((error: unknown) => {
      log.error({ err: error }, 'a request could not be served');
      response.destroy();
    });
    response.once('close', () => {
      if (draining.signal.aborted) setImmediate(closeUnused);
    });
  });

  const sockets = new Set<Socket>();
  server.on('connection', socket => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  /** A client may be about to send on a connection it has: for a moment none is closed but with an answer. */
  let lingers = false;

  /** Node takes a connection on which nothing has come yet for a busy one; browsers open such in advance. */
  function closeUnused(): void {
    if (lingers) return;
    server.closeIdleConnections();
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  }

  function refusalOf(request: IncomingMessage): string | null {
    if (draining.signal.aborted) return '503 Service Unavailable';
    dropTrailingSlash(request);
    if (pathOf(request) !== GRAPHQL_PATH) return '404 Not Found';
    return guard.findStranger(request) === null ? null : '403 Forbidden';
  }

  server.on('upgrade', (request, socket, head) => {
    const refusal = refusalOf(request);
    if (refusal === null) return webSockets.upgrade(request, socket, head);
    socket.on('error', () => socket.destroy());
    socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    return undefined;
  });

  return {
    async listen(port, host) {
      server.listen(port, host);
      await once(server, 'listening');
      const { address, port: taken, family } = server.address() as AddressInfo;
      return `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`;
    },
    withdraw() {
      withdrawn = true;
      health.drain();
    },
    async close() {
      health.drain();
      draining.abort();
      const cut = setTimeout(() => {
        webSockets.terminate();
        server.closeAllConnections();
      }, drainTimeoutMs);
      const webSocketsClosed = webSockets.close();
      const closed = server.listening ? once(server, 'close') : Promise.resolve();
      lingers = withdrawn;
      // The listener only: node's own would close idle connections at once.
      NetServer.prototype.close.call(server);
      if (lingers) await Promise.race([closed, delay(LINGER_MS, undefined, { ref: false })]);
      lingers = false;
      closeUnused();
      await Promise.all([closed, webSocketsClosed]);
      clearTimeout(cut);
    },
  };
}
