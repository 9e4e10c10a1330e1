import type { OperationTypeNode } from 'graphql';
import type { ErrorCode } from '../../errors.ts';
import type { TraceHeaders, Tracer } from '../../postgres/tracing.ts';
import { codeOf, errorIdOf, toDomainError } from '../graphql/error-model.ts';
import { limitOf } from '../graphql/limits/limit-names.ts';
import { type EventOutcome, startOperationSpan } from './operation-span.ts';

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

/**
 * Reports operations to the observers, the same for every transport, and traces them.
 * @param tracer without it, nothing is traced
 */
export function createOperationWatch(observers: readonly OperationObserver[], tracer?: Tracer): WatchOperation {
  return ({ requestId, transport, headers }) => {
    const span = startOperationSpan(tracer, headers);
    const startedAt = performance.now();
    /** Null until there is an error. */
    let failures: Failures | null = null;
    let operation: Pick<OperationReport, 'type' | 'name' | 'viewer'> = { type: null, name: null, viewer: null };
    let events = 0;
    let isAnswered = false;
    let isOver = false;

    function collect(errors: readonly unknown[] | undefined): void {
      if (errors === undefined || errors.length === 0) return;
      failures ??= { codes: new Set(), limits: new Set(), errorIds: new Set() };
      for (const error of errors) {
        failures.codes.add(codeOf(error));
        const limit = limitOf(toDomainError(error));
        if (limit !== null) failures.limits.add(limit);
        const errorId = errorIdOf(error);
        if (errorId !== null) failures.errorIds.add(errorId);
      }
    }

    function report(): OperationReport {
      return {
        type: operation.type,
        name: operation.name,
        viewer: operation.viewer,
        requestId,
        traceId: span.traceId,
        transport,
        events,
        codes: failures === null ? NONE : [...failures.codes],
        limits: failures === null ? NONE : [...failures.limits],
        errorIds: failures === null ? NONE : [...failures.errorIds],
        durationMs: performance.now() - startedAt,
      };
    }

    function answer(current: OperationReport): void {
      if (isAnswered) return;
      isAnswered = true;
      span.end(current);
      for (const observer of observers) observer.answered?.(current);
    }

    return {
      setOperation(given) {
        operation = given;
      },
      run: work => span.run(work),
      runEvent: execute => span.runEvent(operation, execute),
      streamStarted: () => answer(report()),
      addResult(errors) {
        events += 1;
        collect(errors);
      },
      end(errors) {
        if (isOver) return;
        isOver = true;
        collect(errors);
        const current = report();
        answer(current);
        for (const observer of observers) observer.ended?.(current);
      },
    };
  };
}
