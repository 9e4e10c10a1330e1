import { type ExecutionArgs, type ExecutionResult, execute } from 'graphql';
import { requestTimeout } from '../../errors.ts';
import type { RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { MemoryBudget, ResponseMemory } from '../../postgres/response-memory.ts';
import type { Access } from '../auth/authenticate.ts';
import type { LimitEvents } from '../live/event-limit.ts';
import type { SharedExecution } from '../live/shared-execution.ts';
import type { WatchedOperation } from '../observe/operation-watch.ts';
import type { ErrorModel } from './error-model.ts';
import { compiledOperationOf, type MeasuredResult, type ReusedVariables } from './executor/compiled-operation.ts';
import { chargeResponse, UNCOUNTED_BYTES } from './response-size.ts';
import { findVariableErrors } from './variable-errors.ts';

/** The request behind an operation, the same for every transport. */
export interface OperationOrigin {
  /** Names the request in the log and in the `x-request-id` header. */
  readonly requestId: string;
  /** Aborts when the client disconnects or unsubscribes, and when the server drains. */
  readonly signal: AbortSignal;
  /** The caller's access, which may end while the operation runs. */
  readonly access: Access;
  /** The cursor of the client's last event, from the transport (`Last-Event-ID`). It overrides a subscription's `after`. */
  readonly resumeAfter?: string;
  /** Receives the operation's progress and outcome. */
  readonly watch?: WatchedOperation;
  /** Receives the caller's rate limit states after the operation has been counted. */
  readonly onRateLimits?: (states: readonly RateLimitState[], isRejected: boolean) => void;
  /** Calls the function when a large response has been sent or the client has disconnected. By default memory is released immediately. */
  readonly whenSent?: (release: () => void) => void;
}

/** What a context is made for: an execution, or a subscription while it starts. */
interface ExecutionOrigin extends Pick<OperationOrigin, 'requestId' | 'signal' | 'access' | 'resumeAfter'> {
  /** Whether the execution has timed out: the client has got REQUEST_TIMEOUT. */
  isTimedOut?(): boolean;
  /** Pays for the rows and the response of the execution. */
  readonly budget?: MemoryBudget;
}

/**
 * One execution for a request. A class, because an object literal with a getter costs more than a small operation: V8 makes a hidden
 * class for each.
 */
class Execution implements ExecutionOrigin {
  readonly #origin: OperationOrigin;
  readonly budget: MemoryBudget | undefined;
  #hasTimedOut = false;

  constructor(origin: OperationOrigin, budget: MemoryBudget | undefined) {
    this.#origin = origin;
    this.budget = budget;
  }

  get requestId(): string {
    return this.#origin.requestId;
  }

  get access(): Access {
    return this.#origin.access;
  }

  get resumeAfter(): string | undefined {
    return this.#origin.resumeAfter;
  }

  /** An HTTP request makes its signal when it is first asked for. */
  get signal(): AbortSignal {
    return this.#origin.signal;
  }

  /** The client gets REQUEST_TIMEOUT. */
  timeOut(): void {
    this.#hasTimedOut = true;
  }

  isTimedOut(): boolean {
    return this.#hasTimedOut;
  }
}

/** Makes the context of one execution. A subscription gets a new context for every event: its loaders must not cache across events. */
export type ContextFactory = (origin: ExecutionOrigin) => object;

/** How operations are run. */
export interface ExecutionOptions {
  readonly createContext: ContextFactory;
  readonly errors: ErrorModel;
  /** Executions that take longer fail with REQUEST_TIMEOUT. */
  readonly timeoutMs: number;
  /** Shares executions among subscribers to the same operation. By default every subscriber executes its own. */
  readonly shared?: SharedExecution;
  /** Limits concurrent executions for subscription events. By default there is no limit. */
  readonly limitEvents?: LimitEvents;
  /** Bounds the memory of responses; without it they are not bounded. */
  readonly memory?: ResponseMemory;
}

/** What graphql-js executes, without a context: each execution makes its own. */
export interface Operation extends Omit<ExecutionArgs, 'contextValue'> {
  /** Given for an operation that is executed again and again with the same variables. */
  readonly reused?: ReusedVariables;
}

/** Replaces errors about invalid variables, for which graphql-js gives only a message, by errors with codes. Other results stay as they are. */
export function explainVariableErrors(result: ExecutionResult, operation: Operation): ExecutionResult {
  if ('data' in result || result.errors === undefined) return result;
  const errors = findVariableErrors(operation);
  return errors.length === 0 ? result : { errors };
}

/**
 * The outcome of the work.
 * @param onTimeout called when the work takes longer and its outcome is ignored
 * @throws DomainError REQUEST_TIMEOUT then
 */
export function withTimeout<Value>(work: Promise<Value>, timeoutMs: number, onTimeout: () => void = () => undefined): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const timer = setTimeout(() => {
      onTimeout();
      reject(requestTimeout());
    }, timeoutMs);
    work.then(
      value => {
        clearTimeout(timer);
        resolve(value);
      },
      error => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Fields that identify the operation in log lines. */
export function logFieldsOf(operation: Operation, origin: OperationOrigin) {
  return { requestId: origin.requestId, operation: operation.operationName ?? undefined };
}

/** Executes an operation, compiled if possible. The size of its data is null if it was not measured. */
function run(operation: Operation, contextValue: object): MeasuredResult | Promise<MeasuredResult> {
  const execution = compiledOperationOf(operation.schema, operation.document, operation.operationName);
  if (execution !== null) return execution({ ...operation, contextValue });
  const result = execute({ ...operation, contextValue });
  return result instanceof Promise ? result.then(settled => ({ result: settled, dataSize: null })) : { result, dataSize: null };
}

/**
 * Executes a query, a mutation, or a subscription for one event (its `rootValue`), in a context of its own.
 * Never throws or rejects: errors are in the result, in their public form. If the response is too large, the result is QUERY_TOO_COMPLEX
 * instead; the changes of a mutation stay.
 * @returns the result itself if no resolver had to wait
 */
export function executeOperation(
  operation: Operation,
  origin: OperationOrigin,
  options: ExecutionOptions,
): ExecutionResult | Promise<ExecutionResult> {
  const logFields = logFieldsOf(operation, origin);
  const { errors, memory, timeoutMs } = options;
  const budget = memory?.openBudget();
  const execution = new Execution(origin, budget);
  const release = () => budget?.release();
  let running: MeasuredResult | Promise<MeasuredResult> | undefined;
  const finish = ({ result: executed, dataSize }: MeasuredResult): ExecutionResult => {
    const result = errors.presentResult(explainVariableErrors(executed, operation), logFields);
    if (budget !== undefined && memory !== undefined) chargeResponse(result, dataSize, budget, memory.maxBytes);
    if (budget !== undefined && budget.usedBytes() > UNCOUNTED_BYTES && origin.whenSent !== undefined) origin.whenSent(release);
    else release();
    return result;
  };
  const fail = (error: unknown): ExecutionResult => {
    // After a timeout the execution may still be reading.
    if (running instanceof Promise) void running.then(release, release);
    else release();
    return { errors: [errors.present(error, logFields)] };
  };
  try {
    running = run(operation, options.createContext(execution));
    if (!(running instanceof Promise)) return finish(running);
    return withTimeout(running, timeoutMs, () => execution.timeOut())
      .then(finish)
      .catch(fail);
  } catch (error) {
    return fail(error);
  }
}
