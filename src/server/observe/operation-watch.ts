import type { ExecutionResult, OperationTypeNode } from 'graphql';
import type { ErrorCode } from '../../errors.ts';
import type { TraceHeaders, Tracer } from '../../postgres/tracer.ts';
import { codeOf, errorIdOf, toFailure } from '../graphql/error-model.ts';
import { limitOf } from '../graphql/limits/limit-names.ts';
import { beginOperationSpan } from './operation-span.ts';

/** How one operation went; nothing in it comes from variables or content. */
export interface OperationReport {
  readonly requestId: string;
  /** Of the trace the operation is in; null where nothing is traced. */
  readonly traceId: string | null;
  readonly transport: 'http' | 'ws';
  /** Null where it was refused before it was clear what it is. */
  readonly type: `${OperationTypeNode}` | null;
  /** As the client calls it; null where it has no name, or was refused before. */
  readonly name: string | null;
  /** Who asked; null where it did not come so far. */
  readonly viewer: string | null;
  /** Each code once; none where all went well. */
  readonly codes: readonly ErrorCode[];
  /** The limits it ran into, each once, as src/server/limit-names.ts names them. */
  readonly limits: readonly string[];
  /** Under which the log tells of unexpected errors. */
  readonly errorIds: readonly string[];
  /** From the arrival of the request on. */
  readonly durationMs: number;
  /** Results sent by a subscription. */
  readonly events: number;
}

/** Hears of operations. It must not throw. */
export interface OperationObserver {
  /** The answer is there; of a subscription, the stream has begun or was refused. */
  answered?(report: OperationReport): void;
  /** All is over; for queries and mutations right after `answered`. */
  ended?(report: OperationReport): void;
}

/** One operation under way, told about by those it passes through. */
export interface WatchedOperation {
  /** What was asked for, once the document is known to be valid. */
  isFor(type: `${OperationTypeNode}`, name: string | null): void;
  seenBy(viewer: string): void;
  /** Runs what belongs to the operation, so that it is traced as such. */
  within<Result>(work: () => Result): Result;
  /** Runs the answer to one event of a subscription, to be traced by itself. */
  delivers(work: () => Promise<ExecutionResult>): Promise<ExecutionResult>;
  /** The stream of a subscription has begun. */
  streams(): void;
  /** A subscription sends one more result, with these errors. */
  sends(errors: readonly unknown[] | undefined): void;
  /** It is over, with these errors; later calls change nothing. */
  ends(errors: readonly unknown[] | undefined): void;
}

/** Begins to watch an operation, at the arrival of its request. */
export type WatchOperation = (
  about: Pick<OperationReport, 'requestId' | 'transport'> & { readonly headers: TraceHeaders },
) => WatchedOperation;

/**
 * Puts together what happens to an operation, the same for every transport, and tells the observers.
 * @param tracer left out, nothing is traced
 */
export function createOperationWatch(observers: readonly OperationObserver[], tracer?: Tracer): WatchOperation {
  return ({ requestId, transport, headers }) => {
    const span = beginOperationSpan(tracer, headers);
    const begun = performance.now();
    const codes = new Set<ErrorCode>();
    const limits = new Set<string>();
    const errorIds = new Set<string>();
    let type: OperationReport['type'] = null;
    let name: string | null = null;
    let viewer: string | null = null;
    let events = 0;
    let isAnswered = false;
    let isOver = false;

    function note(errors: readonly unknown[] = []): void {
      for (const error of errors) {
        codes.add(codeOf(error));
        const limit = limitOf(toFailure(error));
        if (limit !== null) limits.add(limit);
        const errorId = errorIdOf(error);
        if (errorId !== null) errorIds.add(errorId);
      }
    }

    function tell(moment: 'answered' | 'ended'): void {
      const report: OperationReport = {
        ...{ requestId, traceId: span.traceId, transport, type, name, viewer, events },
        codes: [...codes],
        limits: [...limits],
        errorIds: [...errorIds],
        durationMs: performance.now() - begun,
      };
      for (const observer of observers) observer[moment]?.(report);
    }

    function answer(): void {
      if (isAnswered) return;
      isAnswered = true;
      span.answered({ type, name, requestId, codes: [...codes] });
      tell('answered');
    }

    return {
      isFor(givenType, givenName) {
        type = givenType;
        name = givenName;
      },
      seenBy(given) {
        viewer = given;
      },
      within: work => span.within(work),
      delivers: work => span.delivers({ type, name }, work),
      streams: answer,
      sends(errors) {
        events += 1;
        note(errors);
      },
      ends(errors) {
        if (isOver) return;
        isOver = true;
        note(errors);
        answer();
        tell('ended');
      },
    };
  };
}
