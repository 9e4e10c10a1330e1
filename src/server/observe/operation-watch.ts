import type { OperationTypeNode } from 'graphql';
import type { ErrorCode } from '../../errors.ts';
import type { TraceHeaders, Tracer } from '../../postgres/tracing.ts';
import { codeOf, errorIdOf, toDomainError } from '../graphql/error-model.ts';
import { limitOf } from '../graphql/limits/limit-names.ts';
import { type EventOutcome, type OperationSpan, startOperationSpan } from './operation-span.ts';

/** The outcome of one operation. It contains no variables and no content. */
export interface OperationReport {
  readonly requestId: string;
  /** Null if nothing is traced. */
  readonly traceId: string | null;
  readonly transport: 'http' | 'ws';
  /** Null if the request was rejected before its document was validated. */
  readonly type: `${OperationTypeNode}` | null;
  /** The operation's name in the document; null if it has none, or if the request was rejected before its document was validated. */
  readonly name: string | null;
  /** The caller's name; null if the request was rejected before its document was validated. */
  readonly viewer: string | null;
  /** Each error code once; empty if there were no errors. */
  readonly codes: readonly ErrorCode[];
  /** Each exceeded limit once, by its name in limit-names.ts. */
  readonly limits: readonly string[];
  /** The ids of unexpected errors in the log. */
  readonly errorIds: readonly string[];
  /** Since the arrival of the request. */
  readonly durationMs: number;
  /** Results sent by a subscription. */
  readonly events: number;
}

/** Receives reports of operations. It must not throw. */
export interface OperationObserver {
  /** The result is known. For a subscription: its stream has started or was rejected. */
  answered?(report: OperationReport): void;
  /** The operation is over. For queries and mutations this follows `answered` immediately. */
  ended?(report: OperationReport): void;
}

/** Collects the progress of one running operation. */
export interface WatchedOperation {
  /** Sets what runs and for whom, once the document is known to be valid. */
  setOperation(operation: Pick<OperationReport, 'type' | 'name' | 'viewer'>): void;
  /** Runs work as part of the operation's trace. */
  run<Result>(work: () => Result): Result;
  /** Runs a subscription's execution for one event, in a trace of its own. */
  runEvent(execute: () => EventOutcome): EventOutcome;
  /** The stream of a subscription has started. */
  streamStarted(): void;
  /** A subscription has one more result, with these errors. */
  addResult(errors: readonly unknown[] | undefined): void;
  /** The operation is over, with these errors. Only the first call counts. */
  end(errors: readonly unknown[] | undefined): void;
}

/** Starts to watch an operation when its request arrives. */
export type WatchOperation = (
  request: Pick<OperationReport, 'requestId' | 'transport'> & { readonly headers: TraceHeaders },
) => WatchedOperation;

/** The errors of one operation, each kind once. */
interface Failures {
  readonly codes: Set<ErrorCode>;
  readonly limits: Set<string>;
  readonly errorIds: Set<string>;
}

const NONE: readonly never[] = [];

const UNKNOWN_OPERATION = { type: null, name: null, viewer: null } as const;

/** One running operation. A class: a function for each of its methods would be made for every request. */
class ObservedOperation implements WatchedOperation {
  readonly #request: Pick<OperationReport, 'requestId' | 'transport'>;
  readonly #observers: readonly OperationObserver[];
  readonly #span: OperationSpan;
  readonly #startedAt = performance.now();
  #operation: Pick<OperationReport, 'type' | 'name' | 'viewer'> = UNKNOWN_OPERATION;
  /** Null until there is an error. */
  #failures: Failures | null = null;
  #events = 0;
  #isAnswered = false;
  #isOver = false;

  constructor(request: Pick<OperationReport, 'requestId' | 'transport'>, observers: readonly OperationObserver[], span: OperationSpan) {
    this.#request = request;
    this.#observers = observers;
    this.#span = span;
  }

  setOperation(operation: Pick<OperationReport, 'type' | 'name' | 'viewer'>): void {
    this.#operation = operation;
  }

  run<Result>(work: () => Result): Result {
    return this.#span.run(work);
  }

  runEvent(execute: () => EventOutcome): EventOutcome {
    return this.#span.runEvent(this.#operation, execute);
  }

  streamStarted(): void {
    this.#answer(this.#report());
  }

  addResult(errors: readonly unknown[] | undefined): void {
    this.#events += 1;
    this.#collect(errors);
  }

  end(errors: readonly unknown[] | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#collect(errors);
    const report = this.#report();
    this.#answer(report);
    for (const observer of this.#observers) observer.ended?.(report);
  }

  #answer(report: OperationReport): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#span.end(report);
    for (const observer of this.#observers) observer.answered?.(report);
  }

  #collect(errors: readonly unknown[] | undefined): void {
    if (errors === undefined || errors.length === 0) return;
    this.#failures ??= { codes: new Set(), limits: new Set(), errorIds: new Set() };
    for (const error of errors) {
      this.#failures.codes.add(codeOf(error));
      const limit = limitOf(toDomainError(error));
      if (limit !== null) this.#failures.limits.add(limit);
      const errorId = errorIdOf(error);
      if (errorId !== null) this.#failures.errorIds.add(errorId);
    }
  }

  #report(): OperationReport {
    const failures = this.#failures;
    return {
      type: this.#operation.type,
      name: this.#operation.name,
      viewer: this.#operation.viewer,
      requestId: this.#request.requestId,
      transport: this.#request.transport,
      traceId: this.#span.traceId,
      events: this.#events,
      codes: failures === null ? NONE : [...failures.codes],
      limits: failures === null ? NONE : [...failures.limits],
      errorIds: failures === null ? NONE : [...failures.errorIds],
      durationMs: performance.now() - this.#startedAt,
    };
  }
}

/**
 * Reports operations to the observers, the same for every transport, and traces them.
 * @param tracer without it, nothing is traced
 */
export function createOperationWatch(observers: readonly OperationObserver[], tracer?: Tracer): WatchOperation {
  return request => new ObservedOperation(request, observers, startOperationSpan(tracer, request.headers));
}
