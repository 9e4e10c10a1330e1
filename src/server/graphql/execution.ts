import { createSourceEventStream, type ExecutionArgs, type ExecutionResult, execute, type GraphQLError } from 'graphql';
import type { LimitFunction } from 'p-limit';
import { wrapAsyncIterator } from '../../async-iterator.ts';
import { requestTimeout } from '../../errors.ts';
import type { RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { AnswerMemory, AnswerShare } from '../../postgres/answer-memory.ts';
import type { Access } from '../auth/authenticate.ts';
import { setEventSource, setResumeCursor } from '../live/event-result.ts';
import { type SharedExecution, shareKeyOf } from '../live/shared-execution.ts';
import type { WatchedOperation } from '../observe/operation-watch.ts';
import { holdAnswer } from './answer-size.ts';
import { codeOf, type ErrorModel } from './error-model.ts';
import { findVariableErrors } from './variable-errors.ts';

/** Where an operation comes from, the same for every transport. */
export interface OperationOrigin {
  /** Names the request in the log and in the `x-request-id` header. */
  readonly requestId: string;
  /** Aborts when the client has gone, has unsubscribed, or the server drains. */
  readonly signal: AbortSignal;
  /** Who was let in, and until when. */
  readonly access: Access;
  /** The cursor of the last event the client has, where the transport tells it; wins over a subscription's `after`. */
  readonly resumeAfter?: string;
  /** Told of how it goes. */
  readonly watch?: WatchedOperation;
  /** Told where the caller stands, once the operation has been counted. */
  readonly onRateLimits?: (states: readonly RateLimitState[], isRefused: boolean) => void;
  /** Calls the function once a large answer has been sent, or cannot be; left out, it is out of memory as soon as it is made. */
  readonly untilSent?: (release: () => void) => void;
}

/** While the database is away an event is answered again, for so long; then the stream ends, and whoever resumes gets the event again. */
const UNAVAILABLE_MS = 60_000;
const FIRST_RETRY_MS = 150;
const LAST_RETRY_MS = 2_000;

/** Where one execution comes from. */
interface ExecutionOrigin extends OperationOrigin {
  /** Whether its time is up: it has been answered with REQUEST_TIMEOUT. */
  readonly isTimeUp?: () => boolean;
  /** What the execution reads is held in it. */
  readonly share?: AnswerShare;
}

/** Makes the context of one execution; a subscription gets a new one for every event, so that its loaders forget. */
export type ContextFactory = (origin: ExecutionOrigin) => object | Promise<object>;

/** How operations are run. */
export interface ExecutionOptions {
  readonly createContext: ContextFactory;
  readonly errors: ErrorModel;
  /** An execution that takes longer is answered with REQUEST_TIMEOUT. */
  readonly timeoutMs: number;
  /** Left out, each subscription executes for itself. */
  readonly shared?: SharedExecution;
  /** Runs so many answers to events at once, the others in their turn; left out, all at once. */
  readonly eventAnswers?: LimitFunction;
  /** Left out, answers are as large as they become. */
  readonly answers?: AnswerMemory;
}

/** What is run, without a context: each execution makes its own. */
export type Operation = Omit<ExecutionArgs, 'contextValue'>;

/** graphql-js says of the variables only that they do not fit; a response without `data` and without a path is about the request. */
function explain(result: ExecutionResult, operation: Operation): ExecutionResult {
  if ('data' in result || result.errors === undefined) return result;
  const errors = findVariableErrors(operation);
  return errors.length === 0 ? result : { errors };
}

/** @param onTimeUp called at the moment when the work is given up */
function withinTime<Value>(work: Promise<Value>, timeoutMs: number, onTimeUp: () => void = () => undefined): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const timer = setTimeout(() => {
      onTimeUp();
      reject(requestTimeout());
    }, timeoutMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function aboutOf(operation: Operation, origin: OperationOrigin) {
  return { requestId: origin.requestId, operation: operation.operationName ?? undefined };
}

/**
 * Runs a query, a mutation, or a subscription's answer to one event (its `rootValue`), in a context of its own.
 * Never rejects: errors are in the result, in their public form. An answer that is too large is QUERY_TOO_COMPLEX instead; what a mutation
 * has changed stands.
 */
export async function executeOperation(operation: Operation, origin: OperationOrigin, options: ExecutionOptions): Promise<ExecutionResult> {
  const about = aboutOf(operation, origin);
  let isOver = false;
  const share = options.answers?.openShare();
  const release = () => share?.release();
  const own = { ...origin, isTimeUp: () => isOver, share };
  const run = async () => execute({ ...operation, contextValue: await options.createContext(own) });
  const running = run();
  try {
    const executed = await withinTime(running, options.timeoutMs, () => {
      isOver = true;
    });
    const result = options.errors.presentResult(explain(executed, operation), about);
    if (share !== undefined && options.answers !== undefined) holdAnswer(result, share, options.answers.maxBytes);
    if (share?.isHeld()) (origin.untilSent ?? releaseAtOnce)(release);
    return result;
  } catch (error) {
    // What is given up may still be reading.
    void running.then(release, release);
    return { errors: [options.errors.present(error, about)] };
  }
}

function releaseAtOnce(release: () => void): void {
  release();
}

/** An execution for many goes on when the one it was begun for leaves. */
const NEVER = new AbortController().signal;

/** Gives the function that answers a subscription to its events; its results know their cursors. */
function answering(operation: Operation, origin: OperationOrigin, options: ExecutionOptions): (event: unknown) => Promise<ExecutionResult> {
  const { shared, eventAnswers } = options;
  const key = shared === undefined ? null : shareKeyOf(operation, origin.access.viewer);
  const { requestId, access } = origin;
  let release: () => void = () => undefined;
  const untilSent = (next: () => void) => {
    if (origin.signal.aborted) next();
    else release = next;
  };
  origin.signal.addEventListener('abort', () => release(), { once: true });
  const own: OperationOrigin = key === null ? { ...origin, untilSent } : { requestId, access, signal: NEVER, untilSent };
  async function answer(event: unknown, isWanted: () => boolean): Promise<ExecutionResult> {
    // The next event is asked for when the answer to the last one has been sent.
    release();
    const execution = async () => (isWanted() ? executeOperation({ ...operation, rootValue: event }, own, options) : {});
    // The time an answer may take begins when it is its turn.
    const result = await (eventAnswers === undefined ? execution() : eventAnswers(execution));
    setResumeCursor(result, event);
    return result;
  }
  const { signal } = origin;
  return event =>
    shared === undefined ? answer(event, () => !signal.aborted) : shared.resultFor(event, key, signal, isWanted => answer(event, isWanted));
}

/** Resolves after so long, or as soon as the signal aborts; keeps no process alive. */
function pause(milliseconds: number, ended: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const over = () => {
      clearTimeout(timer);
      ended.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ended.aborted ? 0 : milliseconds).unref();
    ended.addEventListener('abort', over);
  });
}

/** The first error of a result that says that the database is away. */
function unavailable({ errors }: ExecutionResult): GraphQLError | undefined {
  return errors?.find(error => codeOf(error) === 'SERVICE_UNAVAILABLE');
}

/**
 * The same, but an answer that lacks something only because the database is away is not given: an event comes once, and what it lacks would be
 * taken for gone. It is made again until it is whole, until nobody wants it any more, or until a minute has passed.
 * @throws GraphQLError SERVICE_UNAVAILABLE after that minute
 */
function persisting(
  answer: (event: unknown) => Promise<ExecutionResult>,
  ended: AbortSignal,
): (event: unknown) => Promise<ExecutionResult> {
  return async event => {
    const since = performance.now();
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      const result = await answer(event);
      const error = unavailable(result);
      if (error === undefined) return result;
      if (performance.now() - since >= UNAVAILABLE_MS) throw error;
      await pause(retryMs, ended);
      if (ended.aborted) return result;
    }
  };
}

/** Calls the listener when the signal aborts; immediately if it has. */
function onAbort(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
}

/** The same, told to the operation's watch. */
function delivering(
  watch: WatchedOperation | undefined,
  answer: (event: unknown) => Promise<ExecutionResult>,
): (event: unknown) => Promise<ExecutionResult> {
  return watch === undefined ? answer : event => watch.delivers(() => answer(event));
}

/**
 * Starts a subscription. The stream of its results ends when the source does, when it is returned, and when the origin's signal
 * or `ending` aborts, at once even where the source is waiting; the source is returned then. A source that throws makes the stream throw. An event that cannot be
 * answered because the database is away delays the stream; after a minute it throws, as if the event had not come: who resumes gets it again.
 * Where the access ends, the stream ends with a last result, whose error is FORBIDDEN.
 * A result with errors in place of the stream where it cannot start. The next event is taken from the source when the next result is asked for,
 * and no sooner. All errors are in their public form.
 */
export async function subscribeOperation(
  operation: Operation,
  origin: OperationOrigin,
  options: ExecutionOptions,
  ending?: AbortSignal,
): Promise<AsyncGenerator<ExecutionResult, undefined> | ExecutionResult> {
  const about = aboutOf(operation, origin);
  const ended = new AbortController();
  const end = () => ended.abort();
  const causes = ending === undefined ? [origin.signal] : [origin.signal, ending];
  const release = () => {
    for (const cause of causes) cause.removeEventListener('abort', end);
    end();
  };
  const own: OperationOrigin = { ...origin, signal: ended.signal };
  const start = async () => createSourceEventStream({ ...operation, contextValue: await options.createContext(own) });
  for (const cause of causes) onAbort(cause, end);
  const starting = start();
  try {
    const source = await withinTime(starting, options.timeoutMs);
    if (Symbol.asyncIterator in source) {
      setEventSource(origin, source);
      const events = source[Symbol.asyncIterator]();
      const answer = delivering(origin.watch, persisting(answering(operation, own, options), ended.signal));
      const stream = wrapAsyncIterator<ExecutionResult>(events, {
        async next() {
          try {
            const event = await events.next();
            return event.done === true ? { done: true, value: undefined } : { done: false, value: await answer(event.value) };
          } catch (error) {
            // Nobody gets the errors of a stream that has ended, so they are not logged either.
            throw ended.signal.aborted ? error : options.errors.present(error, about);
          }
        },
        onEnd: release,
      });
      onAbort(ended.signal, () => stream.end());
      onAbort(
        ended.signal,
        origin.access.onEnd(reason => stream.end({ errors: [options.errors.present(reason, about)] })),
      );
      return stream;
    }
    release();
    return options.errors.presentResult(explain(source, operation), about);
  } catch (error) {
    release();
    // It may have begun after all once the time was up.
    void starting.then(late => (Symbol.asyncIterator in late ? late[Symbol.asyncIterator]().return?.() : undefined)).catch(() => undefined);
    return { errors: [options.errors.present(error, about)] };
  }
}
