import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ExecutionResult, OperationTypeNode } from 'graphql';
import type { OperationParameters, OperationPreparer, PreparedOperation } from '../graphql/operation-preparer.ts';
import type { OperationRunner } from '../graphql/operation-runner.ts';
import type { TransportContext } from '../graphql/plugins/use-execution.ts';
import { serializeResult } from '../live/event-result.ts';
import { corsHeadersOf } from './cors.ts';
import type { ResponseHeaders } from './response-headers.ts';

type JsonMediaType = 'application/json' | 'application/graphql-response+json';

const PARAMETERS = new Set(['query', 'variables', 'operationName', 'extensions']);

/** The media type of the response, for the Accept headers that clients send most; null for any other, which Yoga negotiates. */
function jsonMediaTypeOf(accept: string | undefined): JsonMediaType | null {
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return 'application/json';
  return accept === 'application/graphql-response+json' ? accept : null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The parameters of a body; null if it has other ones, or values of other types, which Yoga explains. */
function parametersOf(body: Readonly<Record<string, unknown>>): OperationParameters | null {
  for (const name of Object.keys(body)) if (!PARAMETERS.has(name)) return null;
  const { query, variables, operationName, extensions } = body;
  if (typeof query !== 'string' || query === '') return null;
  if (variables !== undefined && variables !== null && !isObject(variables)) return null;
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return null;
  if (extensions !== undefined && extensions !== null && !isObject(extensions)) return null;
  return { query, variables, operationName, extensions };
}

interface HttpExtension {
  readonly status?: number;
  readonly spec?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The HTTP status and headers of a result: the highest status of its errors. `application/json` keeps 200, as GraphQL over HTTP requires. */
function httpOf(result: ExecutionResult, mediaType: JsonMediaType): { status: number; headers: Record<string, string> } {
  let status = 0;
  const headers: Record<string, string> = {};
  for (const { extensions } of result.errors ?? []) {
    const http = extensions.http as HttpExtension | undefined;
    if (http === undefined) continue;
    Object.assign(headers, http.headers);
    if (http.status !== undefined && http.status > status && !(mediaType === 'application/json' && http.spec)) status = http.status;
  }
  return { status: status === 0 ? 200 : status, headers };
}

/** A request and its response. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly headers: ResponseHeaders;
}

/** What the handler needs. */
export interface JsonOperationOptions {
  readonly runner: Pick<OperationRunner, 'run'>;
  readonly preparer: OperationPreparer;
}

/** Serves a query or mutation that a client sends as a plain JSON POST. Returns false if Yoga must serve the request. */
export type JsonOperationHandler = (exchange: Exchange, context: TransportContext) => Promise<boolean>;

/**
 * Serves the common request without Yoga's HTTP layer, which builds a Fetch Request and Response for each and costs more than a small
 * query.
 */
export function createJsonOperationHandler({ runner, preparer }: JsonOperationOptions): JsonOperationHandler {
  function respond({ request, response, headers }: Exchange, mediaType: JsonMediaType, result: ExecutionResult): void {
    const body = serializeResult(result);
    const length = Buffer.byteLength(body);
    headers.add('content-type', `${mediaType}; charset=utf-8`);
    headers.add('content-length', String(length));
    let status = 200;
    if (result.errors !== undefined) {
      const http = httpOf(result, mediaType);
      status = http.status;
      for (const [name, value] of Object.entries(http.headers)) headers.add(name, value);
    }
    if (request.headers.origin !== undefined) for (const [name, value] of Object.entries(corsHeadersOf(request))) headers.add(name, value);
    response.writeHead(status, headers.list);
    // A text of one byte a character is written without being encoded.
    response.end(body, length === body.length ? 'latin1' : 'utf8');
  }

  return async (exchange, context) => {
    const { request } = exchange;
    const mediaType = jsonMediaTypeOf(request.headers.accept);
    const body: unknown = 'body' in request ? request.body : undefined;
    const parameters = mediaType !== null && isObject(body) ? parametersOf(body) : null;
    if (mediaType === null || parameters === null) return false;
    let prepared: PreparedOperation;
    try {
      prepared = preparer.prepare(context, parameters);
    } catch (error) {
      respond(exchange, mediaType, {
        errors: await preparer.reject(context, error, parameters.operationName),
      });
      return true;
    }
    if (prepared.operation.operation === OperationTypeNode.SUBSCRIPTION) return false;
    const { watch } = context.origin;
    const { args } = prepared;
    const result = await (watch === undefined ? runner.run(args) : watch.run(() => runner.run(args)));
    respond(exchange, mediaType, result);
    return true;
  };
}
