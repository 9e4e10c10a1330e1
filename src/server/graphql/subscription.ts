import { createSourceEventStream, type ExecutionResult, type GraphQLError } from 'graphql';
import pRetry from 'p-retry';
import { type EndableGenerator, wrapAsyncIterator } from '../../async-iterator.ts';
import { EventResult, setEventSource } from '../live/event-result.ts';
import { yieldTurn } from '../live/loop-turn.ts';
import { shareKeyOf } from '../live/shared-execution.ts';
import type { EventOutcome } from '../observe/operation-span.ts';
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
import type { ReusedVariables } from './executor/compiled-operation.ts';

/** While the database is unavailable, the execution for an event is retried for a minute, with growing pauses. */
const RETRIES = { retries: Number.POSITIVE_INFINITY, maxRetryTime: 60_000, minTimeout: 150, maxTimeout: 2_000, unref: true };

/** Gives the result of a subscription for an event. Never throws. */
type ExecuteEvent = (event: unknown) => EventOutcome;

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

  const reused: ReusedVariables = { prepared: null };

  const execute = (event: unknown, isWanted: () => boolean) =>
    isWanted() ? executeOperation({ ...operation, rootValue: event, reused }, executionOrigin, options) : {};

  function executeFor(event: unknown, isWanted: () => boolean): EventOutcome {
    // The consumer asks for the next event after it has sent the result of the last one.
    release();
    // The timeout of an execution starts when the limit lets it run.
    const result = limitEvents === undefined ? execute(event, isWanted) : limitEvents(() => execute(event, isWanted));
    return result instanceof Promise ? result.then(executed => new EventResult(executed, event)) : new EventResult(result, event);
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
function retryWhileUnavailable(execute: ExecuteEvent, ended: AbortSignal): (event: unknown) => EventOutcome {
  async function retry(event: unknown, first: ExecutionResult): Promise<ExecutionResult> {
    let result = first;
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
  }
  const accept = (event: unknown, result: ExecutionResult) => (findUnavailable(result) === undefined ? result : retry(event, result));
  return event => {
    const result = execute(event);
    return result instanceof Promise ? result.then(executed => accept(event, executed)) : accept(event, result);
  };
}

/** Traces the execution for each event. */
function withTracing(execute: ExecuteEvent, watch: WatchedOperation | undefined): ExecuteEvent {
  return watch === undefined ? execute : event => watch.runEvent(() => execute(event));
}

/** A source whose events can be taken without a promise for each. */
interface ImmediateSource {
  /** The next event if it has arrived already, else null. */
  takeNow(): unknown;
}

function isImmediate(source: object): source is ImmediateSource {
  return 'takeNow' in source && typeof source.takeNow === 'function';
}

/** Calls the listener when the signal aborts; immediately if it has. */
function onAbort(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
}

/**
 * Starts a subscription. Gives the stream of its results, or one result with errors if it cannot start. All errors are in their public form.
 *
 * The stream reports its results and its end to the watch of the origin. It ends when the source ends, when the stream is returned, and when the origin's signal or `ending` aborts, immediately even if
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
): Promise<EndableGenerator<ExecutionResult> | ExecutionResult> {
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
    /** The result of an event that `takeNow` has taken, if it takes time. */
    let pending: Promise<ExecutionResult> | null = null;
    const report = (result: ExecutionResult) => {
      watch?.addResult(result.errors);
      return result;
    };
    const stream = wrapAsyncIterator<ExecutionResult>(events, {
      async next() {
        try {
          const begun = pending;
          pending = null;
          if (begun !== null) return { done: false, value: report(await begun) };
          const event = await events.next();
          // An event can reach thousands of subscribers in the same turn.
          const turn = yieldTurn();
          if (turn !== undefined) await turn;
          return event.done === true ? { done: true, value: undefined } : { done: false, value: report(await execute(event.value)) };
        } catch (error) {
          // Nobody gets the errors of a stream that has ended, so they are not logged either.
          throw ended.signal.aborted ? error : options.errors.present(error, logFields);
        }
      },
      takeNow() {
        const event = pending === null && isImmediate(events) ? events.takeNow() : null;
        if (event === null) return null;
        const result = execute(event);
        if (!(result instanceof Promise)) return report(result);
        pending = result;
        return null;
      },
      onEnd(error) {
        release();
        pending?.catch(() => undefined);
        watch?.end(error === undefined ? undefined : [error]);
      },
    });
    onAbort(ended.signal, () => stream.end());
    const stopListening = access.onEnd(reason => stream.end(report({ errors: [options.errors.present(reason, logFields)] })));
    onAbort(ended.signal, stopListening);
    watch?.streamStarted();
    return stream;
  } catch (error) {
    release();
    // The source may still start after the timeout.
    void starting.then(late => (Symbol.asyncIterator in late ? late[Symbol.asyncIterator]().return?.() : undefined)).catch(() => undefined);
    return { errors: [options.errors.present(error, logFields)] };
  }
}
