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
