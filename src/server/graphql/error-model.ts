import { randomUUID } from 'node:crypto';
import { type ExecutionResult, type FormattedExecutionResult, GraphQLError } from 'graphql';
import { DomainError, type ErrorCode, type ErrorDetails, isErrorCode, isRetryable } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { toDatabaseFailure } from '../../postgres/sql-state.ts';

/** What every error carries in `extensions`, over every transport. */
interface PublicExtensions {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  /** When it was answered, RFC 3339. */
  readonly timestamp: string;
  /** Whether the same call may succeed when it is made again unchanged. */
  readonly retryable: boolean;
  /** Of INTERNAL_SERVER_ERROR only: the line of the log that has the cause carries it too. */
  readonly errorId?: string;
}

/** Turns whatever failed into the errors a client sees; unexpected ones are logged and masked. */
export interface ErrorModel {
  /**
   * The public form of one failure. An error that already has it is given back as it is.
   * @param about names the request in the log
   */
  present(error: unknown, about: LogFields): GraphQLError;
  /** The result with all its errors in their public form; without errors, the same object. */
  presentResult(result: ExecutionResult, about: LogFields): ExecutionResult;
}

/** Fields of a log line. */
type LogFields = Readonly<Record<string, unknown>>;

/** HTTP status of a response without `data`, where the media type gives it one. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  REQUEST_TOO_LARGE: 413,
  RATE_LIMIT_EXCEEDED: 429,
  INTERNAL_SERVER_ERROR: 500,
  SERVICE_UNAVAILABLE: 503,
  REQUEST_TIMEOUT: 504,
};

/** HTTP status of a request that failed as a whole with this code. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 400;
}

function httpOf(code: ErrorCode) {
  const headers: Record<string, string> = code === 'UNAUTHORIZED' ? { 'www-authenticate': 'Bearer' } : {};
  return { status: statusOf(code), spec: true, headers };
}

/** The `extensions` of a failure answered now. */
function toExtensions(code: ErrorCode, details: ErrorDetails): PublicExtensions {
  return { code, details, timestamp: new Date().toISOString(), retryable: isRetryable(code) };
}

/** An answer of one error and no data, as JSON takes it. */
export function toErrorAnswer(error: DomainError): FormattedExecutionResult {
  return { errors: [{ message: error.message, extensions: { ...toExtensions(error.code, error.details) } }] };
}

/** Codes of the libraries below for what a caller got wrong, in our words. */
const FOREIGN_CODES: Readonly<Record<string, ErrorCode>> = {
  BAD_REQUEST: 'BAD_USER_INPUT',
  REQUEST_ENTITY_TOO_LARGE: 'REQUEST_TOO_LARGE',
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function rootOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? rootOf(error.originalError) : error;
}

/** What the caller got wrong as graphql-js and Yoga tell it; null where the error is none of the caller's. */
function callersFault(error: GraphQLError, located: boolean): DomainError | null {
  const code = error.extensions.code;
  const details = isObject(error.extensions.details) ? error.extensions.details : {};
  if (isErrorCode(code)) return new DomainError(code, error.message, details);
  if (code === 'OPERATION_RESOLUTION_FAILURE') return new DomainError('BAD_USER_INPUT', error.message, { field: 'operationName' });
  const known = typeof code === 'string' ? FOREIGN_CODES[code] : undefined;
  if (known !== undefined) return new DomainError(known, error.message, details);
  if (error.source !== undefined && error.nodes === undefined) return new DomainError('GRAPHQL_PARSE_FAILED', error.message);
  if (error.nodes === undefined) return null;
  if (!located) return new DomainError('GRAPHQL_VALIDATION_FAILED', error.message);
  const field = /^Argument "([^"]+)"/.exec(error.message)?.[1];
  return new DomainError('BAD_USER_INPUT', error.message, field === undefined ? {} : { field });
}

/** What failed, in our words; null where nobody foresaw it. */
export function toFailure(error: unknown): DomainError | null {
  const root = rootOf(error);
  if (root instanceof DomainError) return root;
  if (root instanceof GraphQLError) return callersFault(root, error instanceof GraphQLError && error.path !== undefined);
  return toDatabaseFailure(root);
}

/** The code a failure has, or will have in its public form. */
export function codeOf(error: unknown): ErrorCode {
  return toFailure(error)?.code ?? 'INTERNAL_SERVER_ERROR';
}

/** Under which the log tells of a failure in its public form; null where it is none of the unexpected. */
export function errorIdOf(error: unknown): string | null {
  const errorId = error instanceof GraphQLError ? error.extensions.errorId : null;
  return typeof errorId === 'string' ? errorId : null;
}

/** @param log gets one line for each unexpected error, with its `errorId` */
export function createErrorModel(log: Logger): ErrorModel {
  const presented = new WeakSet<object>();

  function present(error: unknown, about: LogFields): GraphQLError {
    const root = rootOf(error);
    for (const known of [error, root]) if (known instanceof GraphQLError && presented.has(known)) return known;
    const outer = error instanceof GraphQLError ? error : null;
    const failure = toFailure(error);
    const errorId = failure === null ? randomUUID() : undefined;
    if (failure === null) log.error({ ...about, errorId, path: outer?.path, err: root }, 'unexpected error');
    else if (failure !== root && isRetryable(failure.code))
      log.warn({ ...about, code: failure.code, path: outer?.path, err: root }, failure.message);
    const code = failure?.code ?? 'INTERNAL_SERVER_ERROR';
    const message = failure?.message ?? 'Something went wrong on the server; its log tells more under the errorId.';
    const details = failure?.details ?? { errorId };
    const answer = new GraphQLError(message, {
      nodes: outer?.nodes,
      source: outer?.source,
      positions: outer?.positions,
      path: outer?.path,
      extensions: {
        ...toExtensions(code, details),
        ...(errorId === undefined ? {} : { errorId }),
        // Yoga takes the status from here and does not print it; `spec` leaves 200 to application/json, as GraphQL over HTTP asks.
        http: outer?.extensions.http ?? (outer?.path === undefined ? httpOf(code) : undefined),
      },
    });
    presented.add(answer);
    return answer;
  }

  return {
    present,
    presentResult: (result, about) =>
      result.errors === undefined ? result : { ...result, errors: result.errors.map(error => present(error, about)) },
  };
}
