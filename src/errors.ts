/**
 * The errors that callers can get, with the same codes over every transport. This file does not know GraphQL: error-model.ts in
 * src/server/graphql turns a DomainError into the error of a response.
 */

/** Every `extensions.code` that the server sends, its meaning, and whether the same call may succeed if it is sent again. */
export const ERROR_CODES = {
  SESSION_NOT_FOUND: { meaning: 'No such session, or not visible. `details.trashed`: it is in the trash.', isRetryable: false },
  MESSAGE_NOT_FOUND: { meaning: 'No such message in the session.', isRetryable: false },
  API_KEY_NOT_FOUND: { meaning: 'No such API key.', isRetryable: false },
  BAD_USER_INPUT: { meaning: 'An argument is wrong; see `details.field`.', isRetryable: false },
  PAGE_SIZE_TOO_LARGE: { meaning: 'The page size is over the maximum.', isRetryable: false },
  BAD_CURSOR: { meaning: 'The cursor is malformed, or belongs to another order or filter.', isRetryable: false },
  CURSOR_EXPIRED: { meaning: 'The event log no longer reaches back to the cursor. Start again without it.', isRetryable: false },
  TITLE_TOO_LONG: { meaning: 'The title has more than 200 characters.', isRetryable: false },
  MESSAGE_TOO_LARGE: { meaning: 'A message or a call has too much content.', isRetryable: false },
  INVALID_TOKEN_LIMIT: { meaning: 'The token limit is out of range, or nearly used already.', isRetryable: false },
  INVALID_STATUS_TRANSITION: { meaning: 'The status may not change in this way.', isRetryable: false },
  SESSION_ENDED: { meaning: 'The session has ended and takes no messages.', isRetryable: false },
  KEY_TAKEN: { meaning: 'Another session of the agent has the key.', isRetryable: false },
  LABEL_TAKEN: { meaning: 'Another session of the agent has the label.', isRetryable: false },
  MAIN_SESSION_PROTECTED: { meaning: 'The main session of the default agent cannot be deleted.', isRetryable: false },
  VERSION_CONFLICT: { meaning: 'The session has another version than `expectedVersion`.', isRetryable: false },
  IDEMPOTENCY_CONFLICT: { meaning: 'The idempotency key was used with another input.', isRetryable: false },
  UNAUTHORIZED: { meaning: 'The key or token is missing, unknown, revoked or expired.', isRetryable: false },
  FORBIDDEN: { meaning: 'The caller lacks a scope, or the page may not use the server.', isRetryable: false },
  RATE_LIMIT_EXCEEDED: { meaning: 'Too many calls in a minute, or too many open connections.', isRetryable: true },
  QUERY_TOO_COMPLEX: { meaning: 'The operation costs too much, or its response is too large.', isRetryable: false },
  QUERY_TOO_DEEP: { meaning: 'Fields are nested too deep.', isRetryable: false },
  REQUEST_TOO_LARGE: { meaning: 'The request has more than 4 MiB.', isRetryable: false },
  REQUEST_TIMEOUT: { meaning: 'The request took too long. A change may or may not have happened.', isRetryable: true },
  PERSISTED_QUERY_REQUIRED: { meaning: 'The server runs trusted documents only.', isRetryable: false },
  GRAPHQL_PARSE_FAILED: { meaning: 'The document is not GraphQL.', isRetryable: false },
  GRAPHQL_VALIDATION_FAILED: { meaning: 'The document does not fit the schema.', isRetryable: false },
  SERVICE_UNAVAILABLE: { meaning: 'The database or another service is unreachable or busy.', isRetryable: true },
  INTERNAL_SERVER_ERROR: { meaning: 'Unexpected failure; see `errorId`.', isRetryable: false },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What an error adds for programs to read, as JSON values. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** Whether the same call may succeed if it is sent again unchanged. */
export function isRetryable(code: ErrorCode): boolean {
  return ERROR_CODES[code].isRetryable;
}

/** True for the name of one of our error codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
}

/** An error that the caller caused or can react to. Its message and details are sent to the client. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * BAD_USER_INPUT for one field.
 * @param field the field's path as the caller wrote it, such as `input.tags.3`
 * @param problem what is wrong, without the field's name, such as `must not be empty`
 */
export function badInput(field: string, problem: string, details: ErrorDetails = {}): DomainError {
  return new DomainError('BAD_USER_INPUT', `${field} ${problem}.`, { field, ...details });
}

/**
 * SESSION_NOT_FOUND, also for a session that the caller may not see.
 * @param id as the caller wrote it
 * @param trashed true if the session is in the trash and the caller may see it
 */
export function sessionNotFound(id: string, trashed = false): DomainError {
  const message = trashed ? `Session ${id} is in the trash. Restore it first.` : `There is no session ${id}.`;
  return new DomainError('SESSION_NOT_FOUND', message, trashed ? { id, trashed } : { id });
}

/** REQUEST_TIMEOUT. Changes that the request had already made may persist. */
export function requestTimeout(): DomainError {
  return new DomainError('REQUEST_TIMEOUT', 'The request took too long and was stopped.');
}

/**
 * Why the process cannot start. The message tells the person who started it what is wrong and what to do; it is printed without a stack.
 */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** The `code` of an error of Node or Postgres, such as `ENOENT` or `23505`; null if it has none. */
export function errorCodeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** An error's message, to be part of another message. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? (errorCodeOf(error) ?? error.name) : error.message;
}
