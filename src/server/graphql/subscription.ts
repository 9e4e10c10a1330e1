import { createSourceEventStream, type ExecutionResult, type GraphQLError } from 'graphql';
import pRetry from 'p-retry';
import { wrapAsyncIterator } from '../../async-iterator.ts';
import { setEventSource, setResumeCursor } from '../live/event-result.ts';
import { shareKeyOf } from '../live/shared-execution.ts';
import type { WatchedOperation } from '../observe/operation-watch.ts';
import { codeOf } from './error-model.ts';
import {
  type ExecutionOptions,
  executeOperation,
  explainVariableErrors,
  logFieldsOf,
  type Operation,
  type OperationOrigin,
  withTimeout,
} from './execution.ts';

/** While the database is unavailable, the execution for an event is retried for a minute, with growing pauses. */
const RETRIES = { retries: Number.POSITIVE_INFINITY, maxRetryTime: 60_000, minTimeout: 150, maxTimeout: 2_000, unref: true };

/** Gives the result of a subscription for an event. */
type ExecuteEvent = (event: unknown) => Promise<ExecutionResult>;

/** A shared execution goes on when the subscriber that started it leaves. */
const NEVER_ABORTED = new AbortController().signal;

/** Executes the operation for each event, shared with other subscribers if possible. The results know the cursors of their events. */
function createEventExecution(operation: Operation, origin: OperationOrigin, options: ExecutionOptions): ExecuteEvent {
  const { shared, limitEvents } = options;
  const { requestId, access, signal } = origin;
  const key = shared === undefined ? null : shareKeyOf(operation, access.viewer);
  let release: () => void = () => undefined;
  const whenSent = (next: () => void) => {
    if (signal.aborted) next();
    else release = next;
  };
  signal.addEventListener('abort', () => release(), { once: true });
  const executionOrigin: OperationOrigin = key === null ? { ...origin, whenSent } : { requestId, access, signal: NEVER_ABORTED, whenSent };

  async function executeFor(event: unknown, isWanted: () => boolean): Promise<ExecutionResult> {
    // The consumer asks for the next event after it has sent the result of the last one.
    release();
    const execution = async () => (isWanted() ? executeOperation({ ...operation, rootValue: event }, executionOrigin, options) : {});
    // The timeout of an execution starts when the limit lets it run.
    const result = await (limitEvents === undefined ? execution() : limitEvents(execution));
    setResumeCursor(result, event);
    return result;
  }

  return event =>
    shared === undefined
      ? executeFor(event, () => !signal.aborted)
      : shared.resultFor(event, key, signal, isWanted => executeFor(event, isWanted));
}

/** The first error of a result that says that the database is unavailable. */
function findUnavailable({ errors }: ExecutionResult): GraphQLError | undefined {
  return errors?.find(error => codeOf(error) === 'SERVICE_UNAVAILABLE');
}

/**
 * Retries executions whose result lacks data because the database is unavailable. An event is delivered once, and clients would take the
 * missing data for deleted.
 * @param ended stops the retries; the last result is returned then
 * @throws GraphQLError SERVICE_UNAVAILABLE after a minute
 */
function retryWhileUnavailable(execute: ExecuteEvent, ended: AbortSignal): ExecuteEvent {
  return async event => {
    let result = await execute(event);
    if (findUnavailable(result) === undefined) return result;
    const attempt = async (number: number) => {
      if (number > 1) result = await execute(event);
      const error = findUnavailable(result);
      if (error !== undefined) throw error;
      return result;
    };
    try {
      return await pRetry(attempt, { ...RETRIES, signal: ended });
    } catch (error) {
      if (ended.aborted) return result;
      throw error;
    }
  };
}

/** Traces the execution for each event. */
function withTracing(execute: ExecuteEvent, watch: WatchedOperation | undefined): ExecuteEvent {
  return watch === undefined ? execute : event => watch.runEvent(() => execute(event));
}

/** Calls the listener when the signal aborts; immediately if it has. */
function onAbort(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
}

/**
 * Starts a subscription. Gives the stream of its results, or one result with errors if it cannot start. All errors are in their public form.
 *
 * The stream ends when the source ends, when the stream is returned, and when the origin's signal or `ending` aborts, immediately even if
 * the source is waiting; the source is returned then. If the caller's access ends, the stream ends with a last result, whose error is
 * FORBIDDEN. If the source throws, the stream throws. If the database is unavailable for an event, the stream waits; after a minute it
 * throws, and a client that resumes gets that event again. The stream takes the next event from the source when its consumer asks for the
 * next result, never earlier.
 */
export async function subscribeOperation(
  operation: Operation,
  origin: OperationOrigin,
  options: ExecutionOptions,
  ending?: AbortSignal,
): Promise<AsyncGenerator<ExecutionResult, undefined> | ExecutionResult> {
  const logFields = logFieldsOf(operation, origin);
  const ended = new AbortController();
  const end = () => ended.abort();
  const causes = ending === undefined ? [origin.signal] : [origin.signal, ending];
  const release = () => {
    for (const cause of causes) cause.removeEventListener('abort', end);
    end();
  };
  for (const cause of causes) onAbort(cause, end);
  const { requestId, access, resumeAfter, watch } = origin;
  const streamOrigin: OperationOrigin = { requestId, access, resumeAfter, watch, signal: ended.signal };
  const start = async () => createSourceEventStream({ ...operation, contextValue: options.createContext(streamOrigin) });
  const starting = start();
  try {
    const source = await withTimeout(starting, options.timeoutMs);
    if (!(Symbol.asyncIterator in source)) {
      release();
      return options.errors.presentResult(explainVariableErrors(source, operation), logFields);
    }
    setEventSource(origin, source);
    const events = source[Symbol.asyncIterator]();
    const execute = withTracing(retryWhileUnavailable(createEventExecution(operation, streamOrigin, options), ended.signal), watch);
    const stream = wrapAsyncIterator<ExecutionResult>(events, {
      async next() {
        try {
          const event = await events.next();
          return event.done === true ? { done: true, value: undefined } : { done: false, value: await execute(event.value) };
        } catch (error) {
          // Nobody gets the errors of a stream that has ended, so they are not logged either.
          throw ended.signal.aborted ? error : options.errors.present(error, logFields);
        }
      },
      onEnd: release,
    });
    onAbort(ended.signal, () => stream.end());
    const stopListening = access.onEnd(reason => stream.end({ errors: [options.errors.present(reason, logFields)] }));
    onAbort(ended.signal, stopListening);
    return stream;
  } catch (error) {
    release();
    // The source may still start after the timeout.
    void starting.then(late => (Symbol.asyncIterator in late ? late[Symbol.asyncIterator]().return?.() : undefined)).catch(() => undefined);
    return { errors: [options.errors.present(error, logFields)] };
  }
}
