import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { DomainError } from '../../errors.ts';
import type { RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import { type Access, type Authenticator, DENIED_ACCESS } from '../auth/authenticate.ts';
import type { ErrorModel } from '../graphql/error-model.ts';
import type { OperationOrigin } from '../graphql/execution.ts';
import type { TransportContext } from '../graphql/plugins/use-execution.ts';
import type { GraphQLYoga } from '../graphql/yoga.ts';
import type { WatchedOperation, WatchOperation } from '../observe/operation-watch.ts';
import { traceHeadersOf } from '../observe/trace-headers.ts';
import type { JsonOperationHandler } from './json-operation.ts';
import { addRateLimitHeaders } from './rate-limit-headers.ts';
import { discardBody, IncompleteBodyError, isGraphQLContent, readRequestBody } from './request-body.ts';
import { ResponseHeaders } from './response-headers.ts';
import { sendError, sendText } from './responses.ts';
import type { RequestHandler } from './routes.ts';

/** If reading the body takes longer, the caller is authenticated again: its key may have been revoked in the meantime. */
const REAUTHENTICATE_AFTER_MS = 500;

const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** The client's `x-request-id` if it is well formed, or else a new one. */
function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

/** The `id` of the last event an EventSource received before it reconnected. */
function lastEventIdOf({ headers }: IncomingMessage): string | undefined {
  const id = headers['last-event-id'];
  return typeof id === 'string' && id !== '' ? id : undefined;
}

/** The caller's access, or why the caller has none. */
interface Authentication {
  readonly access: Access;
  readonly authenticationError?: unknown;
}

/** The HTTP request behind an operation. */
class HttpOrigin implements OperationOrigin {
  readonly requestId: string;
  readonly access: Access;
  readonly watch: WatchedOperation;
  readonly headers: ResponseHeaders;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #disconnected: AbortController | null = null;

  constructor(request: IncomingMessage, response: ServerResponse, fields: Pick<HttpOrigin, 'requestId' | 'access' | 'watch' | 'headers'>) {
    this.#request = request;
    this.#response = response;
    this.requestId = fields.requestId;
    this.access = fields.access;
    this.watch = fields.watch;
    this.headers = fields.headers;
  }

  get resumeAfter(): string | undefined {
    return lastEventIdOf(this.#request);
  }

  /** Made when it is first asked for: only subscriptions ask. */
  get signal(): AbortSignal {
    if (this.#disconnected === null) {
      const controller = new AbortController();
      const response = this.#response;
      const disconnect = () => {
        if (!response.writableFinished) controller.abort();
      };
      if (response.closed) disconnect();
      else response.once('close', disconnect);
      this.#disconnected = controller;
    }
    return this.#disconnected.signal;
  }

  onRateLimits(states: readonly RateLimitState[], isRejected: boolean): void {
    addRateLimitHeaders(this.headers, states, isRejected);
  }

  whenSent(release: () => void): void {
    if (this.#response.closed) release();
    else this.#response.once('close', release);
  }
}

/** What the handler needs. */
interface GraphQLHandlerOptions {
  readonly yoga: GraphQLYoga;
  readonly serveJson: JsonOperationHandler;
  readonly errors: ErrorModel;
  readonly watch: WatchOperation;
  readonly authenticator: Authenticator;
  /** Aborts when the server starts to drain. */
  readonly draining: AbortSignal;
}

/** Serves GraphQL over HTTP and SSE. It parses the body of a POST before Yoga gets the request. Bodies of callers without access are dropped. */
export function createGraphQLHandler({ yoga, serveJson, errors, watch, authenticator, draining }: GraphQLHandlerOptions): RequestHandler {
  async function authenticate({ headers }: IncomingMessage): Promise<Authentication> {
    try {
      return { access: await authenticator.authenticate(headers.authorization ?? null) };
    } catch (authenticationError) {
      return { access: DENIED_ACCESS, authenticationError };
    }
  }

  /**
   * Authenticates the caller, and puts the parsed body of a POST into `request.body`, where Yoga expects it.
   * @throws DomainError if the body is invalid or incomplete
   */
  async function receive(request: IncomingMessage): Promise<Authentication> {
    const authentication = await authenticate(request);
    if (request.method !== 'POST') return authentication;
    const startedAt = performance.now();
    Object.assign(request, {
      body: authentication.authenticationError === undefined ? await readRequestBody(request) : discardBody(request),
    });
    return performance.now() - startedAt > REAUTHENTICATE_AFTER_MS ? authenticate(request) : authentication;
  }

  /** Sends what Yoga responds. The body of an event stream is written without Yoga. */
  async function respond(
    request: IncomingMessage,
    response: ServerResponse,
    context: TransportContext,
    headers: ResponseHeaders,
  ): Promise<void> {
    const streams: ((body: Writable) => void)[] = [];
    const answer = await yoga.handleNodeRequestAndResponse(request, response, {
      ...context,
      onEventStream: write => streams.push(write),
    });
    const body = answer.body === null ? '' : await answer.text();
    const all = headers.toObject();
    answer.headers.forEach((value, name) => {
      all[name] = value;
    });
    if (body !== '') all['content-length'] = String(Buffer.byteLength(body));
    response.writeHead(answer.status, all);
    const [writeStream] = streams;
    if (writeStream === undefined) response.end(body);
    else writeStream(response);
  }

  async function execute(
    request: IncomingMessage,
    response: ServerResponse,
    context: TransportContext,
    { watch: watched, headers }: Pick<HttpOrigin, 'watch' | 'headers'>,
  ) {
    try {
      const isPlain = request.method === 'POST' && context.authenticationError === undefined;
      if (isPlain && (await serveJson({ request, response, headers }, context))) return;
      await watched.run(() => respond(request, response, context, headers));
    } catch (error) {
      const failure = errors.present(error, { requestId: context.origin.requestId });
      watched.end([failure]);
      if (response.headersSent) return void response.destroy();
      headers.setOn(response);
      sendText(response, 500, `${failure.message} ${String(failure.extensions.errorId)}`);
    }
  }

  return async (request, response) => {
    const requestId = requestIdOf(request);
    const headers = new ResponseHeaders();
    headers.add('x-request-id', requestId);
    const watched = watch({ requestId, transport: 'http', headers: traceHeadersOf(request.headers) });
    const reject = (error: DomainError, status?: number) => {
      watched.end([error]);
      headers.setOn(response);
      sendError(request, response, error, status);
    };
    if (request.method === 'POST' && !isGraphQLContent(request)) {
      request.resume();
      return reject(new DomainError('BAD_USER_INPUT', 'Send the request as application/json.'), 415);
    }
    let authentication: Authentication;
    try {
      authentication = await receive(request);
    } catch (error) {
      if (error instanceof DomainError && !(error instanceof IncompleteBodyError)) return reject(error);
      // Nobody reads a response.
      watched.end([error]);
      response.destroy();
      return undefined;
    }
    const { access, authenticationError } = authentication;
    const origin = new HttpOrigin(request, response, { requestId, access, watch: watched, headers });
    return execute(request, response, { origin, authenticationError, ending: draining }, origin);
  };
}
