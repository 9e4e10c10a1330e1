import { randomUUID } from 'node:crypto';
import { type ExecutionResult, type FormattedExecutionResult, GraphQLError } from 'graphql';
import { DomainError, type ErrorCode, type ErrorDetails, isErrorCode, isRetryable } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { toDatabaseFailure } from '../../postgres/sql-state.ts';

/** The `extensions` of every error, over every transport. */
interface PublicExtensions {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  /** When the error was reported, in RFC 3339. */
  readonly timestamp: string;
  /** Whether the same request may succeed if it is sent again. */
  readonly retryable: boolean;
  /** Only with INTERNAL_SERVER_ERROR: the id of the log line with the cause. */
  readonly errorId?: string;
}

/** Turns errors into the form that clients get. Unexpected errors are logged and masked. */
export interface ErrorModel {
  /**
   * The public form of an error. An error that has it already is returned unchanged.
   * @param logFields identify the request in log lines
   */
  present(error: unknown, logFields: LogFields): GraphQLError;
  /** The result with all errors in their public form; the same object if it has no errors. */
  presentResult(result: ExecutionResult, logFields: LogFields): ExecutionResult;
}

/** Fields of a log line. */
type LogFields = Readonly<Record<string, unknown>>;

/** The HTTP status of a response without `data`, for media types that use one; 400 for all other codes. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  REQUEST_TOO_LARGE: 413,
  RATE_LIMIT_EXCEEDED: 429,
  INTERNAL_SERVER_ERROR: 500,
  SERVICE_UNAVAILABLE: 503,
  REQUEST_TIMEOUT: 504,
};

/** The HTTP status of a request that failed entirely with this code. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 400;
}

function httpOf(code: ErrorCode) {
  const headers: Record<string, string> = code === 'UNAUTHORIZED' ? { 'www-authenticate': 'Bearer' } : {};
  return { status: statusOf(code), spec: true, headers };
}

/** The `extensions` of an error reported now. */
function toExtensions(code: ErrorCode, details: ErrorDetails): PublicExtensions {
  return { code, details, timestamp: new Date().toISOString(), retryable: isRetryable(code) };
}

/** A response with one error and no data, ready for JSON. */
export function toErrorResponse(error: DomainError): FormattedExecutionResult {
  return { errors: [{ message: error.message, extensions: { ...toExtensions(error.code, error.details) } }] };
}

/** Codes of Yoga for a caller's mistakes, and the codes clients get. */
const CODE_OF_YOGA_CODE: Readonly<Record<string, ErrorCode>> = {
  BAD_REQUEST: 'BAD_USER_INPUT',
  REQUEST_ENTITY_TOO_LARGE: 'REQUEST_TOO_LARGE',
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function rootOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? rootOf(error.originalError) : error;
}

/** The error of a caller's mistake found by graphql-js or Yoga; null if the error is not the caller's mistake. */
function toCallerError(error: GraphQLError, hasPath: boolean): DomainError | null {
  const code = error.extensions.code;
  const details = isObject(error.extensions.details) ? error.extensions.details : {};
  if (isErrorCode(code)) return new DomainError(code, error.message, details);
  if (code === 'OPERATION_RESOLUTION_FAILURE') return new DomainError('BAD_USER_INPUT', error.message, { parameter: 'operationName' });
  const known = typeof code === 'string' ? CODE_OF_YOGA_CODE[code] : undefined;
  if (known !== undefined) return new DomainError(known, error.message, details);
  if (error.source !== undefined && error.nodes === undefined) return new DomainError('GRAPHQL_PARSE_FAILED', error.message);
  if (error.nodes === undefined) return null;
  if (!hasPath) return new DomainError('GRAPHQL_VALIDATION_FAILED', error.message);
  const field = /^Argument "([^"]+)"/.exec(error.message)?.[1];
  return new DomainError('BAD_USER_INPUT', error.message, field === undefined ? {} : { field });
}

/** The error as a DomainError; null if it is unexpected. */
export function toDomainError(error: unknown): DomainError | null {
  const root = rootOf(error);
  if (root instanceof DomainError) return root;
  if (root instanceof GraphQLError) return toCallerError(root, error instanceof GraphQLError && error.path !== undefined);
  return toDatabaseFailure(root);
}

/** The code of an error's public form. */
export function codeOf(error: unknown): ErrorCode {
  return toDomainError(error)?.code ?? 'INTERNAL_SERVER_ERROR';
}

/** The `errorId` of an error in its public form; null if the error is not INTERNAL_SERVER_ERROR. */
export function errorIdOf(error: unknown): string | null {
  const errorId = error instanceof GraphQLError ? error.extensions.errorId : null;
  return typeof errorId === 'string' ? errorId : null;
}

/** @param log gets one line for each unexpected error, with its `errorId`, and a warning for each retryable error with another cause */
export function createErrorModel(log: Logger): ErrorModel {
  const presented = new WeakSet<object>();

  function present(error: unknown, logFields: LogFields): GraphQLError {
    const root = rootOf(error);
    for (const known of [error, root]) if (known instanceof GraphQLError && presented.has(known)) return known;
    const outer = error instanceof GraphQLError ? error : null;
    const failure = toDomainError(error);
    const errorId = failure === null ? randomUUID() : undefined;
    if (failure === null) log.error({ ...logFields, errorId, path: outer?.path, err: root }, 'unexpected error');
    else if (failure !== root && isRetryable(failure.code))
      log.warn({ ...logFields, code: failure.code, path: outer?.path, err: root }, failure.message);
    const code = failure?.code ?? 'INTERNAL_SERVER_ERROR';
    const message = failure?.message ?? 'The server failed unexpectedly. Its log has the cause under this errorId.';
    const details = failure?.details ?? { errorId };
    const publicError = new GraphQLError(message, {
      nodes: outer?.nodes,
      source: outer?.source,
      positions: outer?.positions,
      path: outer?.path,
      extensions: {
        ...toExtensions(code, details),
        ...(errorId === undefined ? {} : { errorId }),
        // Yoga reads the status from here and removes it. `spec`: responses of type application/json keep 200, as GraphQL over HTTP requires.
        http: outer?.extensions.http ?? (outer?.path === undefined ? httpOf(code) : undefined),
      },
    });
    presented.add(publicError);
    return publicError;
  }

  return {
    present,
    presentResult: (result, logFields) =>
      result.errors === undefined ? result : { ...result, errors: result.errors.map(error => present(error, logFields)) },
  };
}
