/**
 * The errors that callers can get, with the same codes over every transport. This file does not know GraphQL: error-model.ts in
 * src/server/graphql turns a DomainError into the error of a response.
 */

/** What a code tells a client. `docs/errors.md` and `serverInfo.errorCodes` repeat it. */
interface ErrorCodeFacts {
  readonly meaning: string;
  /** Whether the same call may succeed if it is sent again unchanged. */
  readonly isRetryable: boolean;
  /** What `extensions.details` can have, by name. */
  readonly details: Readonly<Record<string, string>>;
}

/** Every `extensions.code` that the server sends, in the order of the schema. */
export const ERROR_CODES = {
  SESSION_NOT_FOUND: {
    meaning: 'There is no such session, or the caller may not see it.',
    isRetryable: false,
    details: { id: 'the id as the caller sent it', trashed: 'true if the session is in the trash, from which it can be restored' },
  },
  MESSAGE_NOT_FOUND: {
    meaning: 'There is no such message in the session.',
    isRetryable: false,
    details: { id: 'the id as the caller sent it' },
  },
  COMPACTION_NOT_FOUND: {
    meaning: 'There is no such compaction.',
    isRetryable: false,
    details: { id: 'the id as the caller sent it' },
  },
  TEMPLATE_NOT_FOUND: {
    meaning: 'There is no such template.',
    isRetryable: false,
    details: { id: 'the id as the caller sent it' },
  },
  API_KEY_NOT_FOUND: {
    meaning: 'There is no such API key.',
    isRetryable: false,
    details: { id: 'the id as the caller sent it' },
  },
  BAD_USER_INPUT: {
    meaning: 'An argument has a value that is not accepted, or the request is malformed.',
    isRetryable: false,
    details: {
      field: 'the path of the argument, if an argument is wrong',
      parameter: 'the parameter of the request that is wrong, such as `operationName`',
      header: 'the header of the request that is wrong',
      maxLength: 'the most characters, if the text is too long',
    },
  },
  PAGE_SIZE_TOO_LARGE: {
    meaning: 'The page size is above the maximum of the list.',
    isRetryable: false,
    details: { field: 'the path of the argument', requested: 'the size that was asked for', max: 'the largest size' },
  },
  BAD_CURSOR: {
    meaning: 'The cursor is malformed, or belongs to another list, order or filter. Start again without it.',
    isRetryable: false,
    details: { field: 'the path of the argument' },
  },
  TITLE_TOO_LONG: {
    meaning: 'The title has more than 200 characters.',
    isRetryable: false,
    details: { field: 'the path of the argument', length: 'the characters of the title', maxLength: 'the most characters' },
  },
  MESSAGE_TOO_LARGE: {
    meaning: 'A message, or all messages of a call together, have too much content.',
    isRetryable: false,
    details: { field: 'the path of the argument', length: 'the characters of the content', maxLength: 'the most characters' },
  },
  INVALID_TOKEN_LIMIT: {
    meaning: 'The token limit is out of range, or 95 % of it is already used.',
    isRetryable: false,
    details: {
      field: 'the path of the argument',
      max: 'the largest limit, if the limit is out of range',
      totalTokens: 'the tokens that are already used, otherwise',
    },
  },
  INVALID_STATUS_TRANSITION: {
    meaning: 'The status of the session may not change in this way.',
    isRetryable: false,
    details: { from: 'the current status', to: 'the status that was asked for', allowed: 'the statuses that the session may change to' },
  },
  SESSION_ENDED: {
    meaning: 'The session has ended, and takes no messages, log entries or progress.',
    isRetryable: false,
    details: { status: 'the status of the session' },
  },
  SESSION_ALREADY_TERMINATED: {
    meaning: 'The session has ended already and cannot be killed.',
    isRetryable: false,
    details: { status: 'the status of the session' },
  },
  RESPAWN_NOT_ALLOWED: {
    meaning: 'Only a session that is FAILED, STALLED or TERMINATED can be respawned.',
    isRetryable: false,
    details: { status: 'the status of the session' },
  },
  KEY_TAKEN: {
    meaning: 'Another session of the agent has the key.',
    isRetryable: false,
    details: { field: 'the path of the argument, if the call sets the key', value: 'the key' },
  },
  LABEL_TAKEN: {
    meaning: 'Another session of the agent has the label.',
    isRetryable: false,
    details: { field: 'the path of the argument, if the call sets the label', value: 'the label' },
  },
  AMBIGUOUS_LABEL: {
    meaning: 'Sessions of several agents have the label. Name the agent too.',
    isRetryable: false,
    details: { field: 'the path of the argument' },
  },
  MAIN_SESSION_PROTECTED: {
    meaning: 'The main session of the default agent cannot be deleted.',
    isRetryable: false,
    details: { key: 'the key of the session' },
  },
  VERSION_CONFLICT: {
    meaning: 'The session has another version than `expectedVersion`. Read it again.',
    isRetryable: false,
    details: { expectedVersion: 'the version that was expected', currentVersion: 'the version of the session' },
  },
  IDEMPOTENCY_CONFLICT: {
    meaning: 'The idempotency key was used for another field or input.',
    isRetryable: false,
    details: { field: 'the path of the argument' },
  },
  CURSOR_EXPIRED: {
    meaning: 'The event log no longer reaches back to the cursor. Read the data again, and subscribe without the cursor.',
    isRetryable: false,
    details: {},
  },
  UNAUTHORIZED: {
    meaning: 'The key or token is missing, unknown, revoked or expired.',
    isRetryable: false,
    details: {},
  },
  FORBIDDEN: {
    meaning: 'The caller lacks a scope or may not use the agent, the access has ended, or the page may not use the server.',
    isRetryable: false,
    details: { requiredScope: 'the missing scope', scopes: 'the scopes of the caller', agentId: 'the agent' },
  },
  RATE_LIMIT_EXCEEDED: {
    meaning: 'Too many calls in a minute, or too many open connections.',
    isRetryable: true,
    details: {
      limit: 'the name of the limit',
      perMinute: 'its calls in a minute',
      max: 'the most open connections',
      retryAfterMs: 'how long to wait, in milliseconds',
    },
  },
  QUERY_TOO_COMPLEX: {
    meaning: 'The operation costs too much or has too many parts, or its response is too large. Ask for less.',
    isRetryable: false,
    details: { cost: 'the cost of the operation', limit: 'the maximum that is exceeded', maxBytes: 'the largest response' },
  },
  QUERY_TOO_DEEP: {
    meaning: 'Fields or values are nested too deep.',
    isRetryable: false,
    details: { limit: 'the most levels' },
  },
  REQUEST_TOO_LARGE: {
    meaning: 'The request has more than 4 MiB.',
    isRetryable: false,
    details: { maxBytes: 'the largest request' },
  },
  REQUEST_TIMEOUT: {
    meaning: 'The request took too long. Its changes may or may not have happened.',
    isRetryable: true,
    details: {},
  },
  PERSISTED_QUERY_REQUIRED: {
    meaning: 'The server runs trusted documents only.',
    isRetryable: false,
    details: {},
  },
  GRAPHQL_PARSE_FAILED: {
    meaning: 'The document is not GraphQL, or is too long.',
    isRetryable: false,
    details: { maxTokens: 'the most tokens, if it has more' },
  },
  GRAPHQL_VALIDATION_FAILED: {
    meaning: 'The document does not fit the schema.',
    isRetryable: false,
    details: { field: 'the path of the argument, if a value in the document has the wrong type' },
  },
  SERVICE_UNAVAILABLE: {
    meaning: 'The database or another service is unreachable or busy.',
    isRetryable: true,
    details: { field: '`input.idempotencyKey`, if the first call with the key is still running' },
  },
  INTERNAL_SERVER_ERROR: {
    meaning: 'An unexpected failure. The log of the server has its cause under `errorId`.',
    isRetryable: false,
    details: { errorId: 'names the line of the log; also in `extensions.errorId`' },
  },
} as const satisfies Readonly<Record<string, ErrorCodeFacts>>;

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
 * @param field the path from the arguments of the GraphQL field, such as `input.tags.3` or `filter.and.0.key`
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
