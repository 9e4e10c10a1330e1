/**
 * The failures a caller can cause, and the code each carries in `extensions.code`, over every transport.
 * Nothing here knows of GraphQL: src/server/plugins/use-error-model.ts turns a DomainError into a response.
 */

/** Code to whether the same call may succeed when it is made again unchanged. */
const RETRYABLE = {
  SESSION_NOT_FOUND: false,
  MESSAGE_NOT_FOUND: false,
  API_KEY_NOT_FOUND: false,
  BAD_USER_INPUT: false,
  PAGE_SIZE_TOO_LARGE: false,
  BAD_CURSOR: false,
  TITLE_TOO_LONG: false,
  MESSAGE_TOO_LARGE: false,
  INVALID_TOKEN_LIMIT: false,
  INVALID_STATUS_TRANSITION: false,
  SESSION_ENDED: false,
  KEY_TAKEN: false,
  LABEL_TAKEN: false,
  MAIN_SESSION_PROTECTED: false,
  VERSION_CONFLICT: false,
  IDEMPOTENCY_CONFLICT: false,
  CURSOR_EXPIRED: false,
  UNAUTHORIZED: false,
  FORBIDDEN: false,
  QUERY_TOO_COMPLEX: false,
  QUERY_TOO_DEEP: false,
  RATE_LIMIT_EXCEEDED: true,
  REQUEST_TOO_LARGE: false,
  PERSISTED_QUERY_REQUIRED: false,
  REQUEST_TIMEOUT: true,
  GRAPHQL_PARSE_FAILED: false,
  GRAPHQL_VALIDATION_FAILED: false,
  SERVICE_UNAVAILABLE: true,
  INTERNAL_SERVER_ERROR: false,
} as const;

/** Every `extensions.code` this server answers with. */
export type ErrorCode = keyof typeof RETRYABLE;

/** What a failure adds for programs to read; values are JSON. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** Whether the same call may succeed when it is made again unchanged. */
export function isRetryable(code: ErrorCode): boolean {
  return RETRYABLE[code];
}

/** True for a string that is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(RETRYABLE, value);
}

/** A failure the caller caused or can act on; its message and details reach the client as they are. */
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
 * @param field path of the field as the caller wrote it, e.g. `input.tags.3`
 * @param problem what is wrong, without the field's name, e.g. `must not be empty`
 */
export function badInput(field: string, problem: string, details: ErrorDetails = {}): DomainError {
  return new DomainError('BAD_USER_INPUT', `${field} ${problem}.`, { field, ...details });
}

/**
 * SESSION_NOT_FOUND, also for a session that may not be seen.
 * @param id as the caller wrote it
 * @param trashed true where the session lies in the trash and the caller may see it
 */
export function sessionNotFound(id: string, trashed = false): DomainError {
  const message = trashed ? `Session ${id} lies in the trash; restore it first.` : `There is no session ${id}.`;
  return new DomainError('SESSION_NOT_FOUND', message, trashed ? { id, trashed } : { id });
}

/** REQUEST_TIMEOUT; what the request changed before may stand. */
export function requestTimeout(): DomainError {
  return new DomainError('REQUEST_TIMEOUT', 'The request took too long and was given up.');
}

/**
 * Why the process cannot start, for the person who started it: the message says what is wrong and what to do, and is
 * shown without a stack.
 */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** The `code` of a system or Postgres error (`ENOENT`, `23505`), null where the value carries none. */
export function errorCodeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** What an error says, in one line fit for a message to a person. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? (errorCodeOf(error) ?? error.name) : error.message;
}
