import pRetry from 'p-retry';
import { DomainError, requestTimeout } from '../errors.ts';

/** SQLSTATE codes that this program handles. Source: PostgreSQL, Appendix A, "PostgreSQL Error Codes". */
const SQL_STATE = {
  featureNotSupported: '0A000',
  foreignKeyViolation: '23503',
  uniqueViolation: '23505',
  idleInTransactionTimeout: '25P03',
  unknownPreparedStatement: '26000',
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  tooManyConnections: '53300',
  lockNotAvailable: '55P03',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  cannotConnectNow: '57P03',
  idleSessionTimeout: '57P05',
} as const;

/** Codes of Node, Prisma and Postgres which mean that the database cannot be used now, but may be later. */
const UNAVAILABLE: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENOENT'],
  ...['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2034', 'P2037'],
  ...['DatabaseNotReachable', 'ConnectionClosed', 'SocketTimeout', 'TooManyConnections', 'TransactionWriteConflict'],
  ...[SQL_STATE.adminShutdown, SQL_STATE.crashShutdown, SQL_STATE.cannotConnectNow, SQL_STATE.idleSessionTimeout],
  ...[SQL_STATE.tooManyConnections, SQL_STATE.serializationFailure, SQL_STATE.deadlockDetected, SQL_STATE.idleInTransactionTimeout],
]);

/** SQLSTATE class 08: connection exceptions. */
const CONNECTION_EXCEPTION = /^08/;

/** pg throws these errors without a code. */
const UNAVAILABLE_MESSAGES = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** Five digits and letters with a digit among them (`EPIPE` is Node's), but not one of Prisma's codes such as `P2010`. */
const SQL_STATE_FORM = /^(?!P[1-9])(?=.*\d)[0-9A-Z]{5}$/;

const MAX_NESTING = 6;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The error, then the errors it was made of: Prisma nests the driver's in `meta.driverAdapterError.cause`, Node several in `errors`. */
function* causesOf(error: unknown, depth = 0): Generator<Readonly<Record<string, unknown>>> {
  if (!isObject(error) || depth > MAX_NESTING) return;
  yield error;
  const aggregated = Array.isArray(error.errors) ? error.errors : [];
  for (const cause of [error.cause, error.meta, error.driverAdapterError, ...aggregated]) yield* causesOf(cause, depth + 1);
}

function codesOf(error: unknown): string[] {
  return [...causesOf(error)].flatMap(({ code, originalCode, kind, errorCode }) =>
    [code, originalCode, kind, errorCode].filter(each => typeof each === 'string'),
  );
}

/** The SQLSTATE of a failed statement, sent through pg or Prisma; null if Postgres did not report the error. */
export function sqlStateOf(error: unknown): string | null {
  return codesOf(error).find(code => SQL_STATE_FORM.test(code)) ?? null;
}

/** Whether a statement failed because it waited for a lock longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === SQL_STATE.lockNotAvailable;
}

/** The name of the unique index or constraint that a statement violated; null if it failed for another reason. */
export function violatedUniqueIndex(error: unknown): string | null {
  if (sqlStateOf(error) !== SQL_STATE.uniqueViolation) return null;
  for (const { constraint } of causesOf(error)) {
    if (typeof constraint === 'string') return constraint;
    if (isObject(constraint) && typeof constraint.index === 'string') return constraint.index;
  }
  return null;
}

/**
 * The public error of a failed statement or connection: REQUEST_TIMEOUT if Postgres canceled the statement, SERVICE_UNAVAILABLE if the
 * database cannot be used now; null for anything else.
 */
export function toDatabaseFailure(error: unknown): DomainError | null {
  const codes = codesOf(error);
  if (codes.includes(SQL_STATE.queryCanceled)) return requestTimeout();
  const isUnavailable =
    codes.some(code => UNAVAILABLE.has(code) || CONNECTION_EXCEPTION.test(code)) ||
    (error instanceof Error && UNAVAILABLE_MESSAGES.test(error.message));
  return isUnavailable ? new DomainError('SERVICE_UNAVAILABLE', 'The database is unavailable. Try again.') : null;
}

/** Whether Postgres rolled the statement or transaction back to break a deadlock: nothing of it happened, so it may run again. */
export function isDeadlock(error: unknown): boolean {
  return sqlStateOf(error) === SQL_STATE.deadlockDetected;
}

/**
 * Whether a prepared statement cannot be executed any more: a migration has changed the types of its columns since it was parsed, or the
 * session was reset.
 */
export function isStaleStatement(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === SQL_STATE.unknownPreparedStatement) return true;
  // Messages are translated, the name of the routine is not.
  return state === SQL_STATE.featureNotSupported && [...causesOf(error)].some(({ routine }) => routine === 'RevalidateCachedQuery');
}

/**
 * Whether a transaction that reads before it locks may succeed if it runs again: another transaction wrote the same rows meanwhile
 * (unique or foreign key violation, serialization failure, deadlock).
 */
export function isWriteConflict(error: unknown): boolean {
  const state = sqlStateOf(error);
  return (
    state === SQL_STATE.uniqueViolation ||
    state === SQL_STATE.foreignKeyViolation ||
    state === SQL_STATE.serializationFailure ||
    state === SQL_STATE.deadlockDetected
  );
}

const MAX_RETRIES = 4;
const FIRST_DELAY_MS = 5;

/**
 * Runs work up to five times, as long as it fails with an error that may not occur again. Pauses between the attempts grow from 5 ms.
 * @param work has no effect but its statements, all of which are rolled back when it fails
 * @throws the error of the last attempt
 */
export async function withRetry<Result>(work: () => Promise<Result>, isRetryable: (error: unknown) => boolean): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isRetryable(error)) throw error;
    return retry(error, work, isRetryable);
  }
}

/** Continues after the first attempt. Most work succeeds at once, and should not pay for a retry. */
async function retry<Result>(failure: unknown, work: () => Promise<Result>, isRetryable: (error: unknown) => boolean): Promise<Result> {
  return pRetry(attempt => (attempt === 1 ? Promise.reject(failure) : work()), {
    retries: MAX_RETRIES,
    minTimeout: FIRST_DELAY_MS,
    randomize: true,
    shouldRetry: ({ error }) => isRetryable(error),
  });
}
