import type { ExecutionResult, OperationTypeNode } from 'graphql';
import type { ErrorCode } from '../../errors.ts';
import type { Span, SpanAttributes, TraceHeaders, Tracer } from '../../postgres/tracing.ts';
import { codeOf } from '../graphql/error-model.ts';

/** An operation's type and name; null while they are unknown. */
interface OperationName {
  readonly type: `${OperationTypeNode}` | null;
  readonly name: string | null;
}

/** The result of a subscription for an event; not a promise if no resolver had to wait. */
export type EventOutcome = ExecutionResult | Promise<ExecutionResult>;

/** The trace of one operation. */
export interface OperationSpan {
  /** Null if nothing is traced. */
  readonly traceId: string | null;
  /** Runs work as part of the operation's trace. */
  run<Result>(work: () => Result): Result;
  /** Runs a subscription's execution for one event, in a trace of its own that links to the subscription's. */
  runEvent(operation: OperationName, execute: () => EventOutcome): EventOutcome;
  /** Ends the span: the result is known, or the stream of a subscription has started or was rejected. */
  end(operation: OperationName & { readonly requestId: string; readonly codes: readonly ErrorCode[] }): void;
}

const UNTRACED: OperationSpan = {
  traceId: null,
  run: work => work(),
  runEvent: (_operation, execute) => execute(),
  end: () => undefined,
};

const MAX_NAME_LENGTH = 128;

/** Codes that mark a span as failed. As OpenTelemetry says for HTTP servers, a caller's mistake does not. */
const FAILURE_CODES: ReadonlySet<ErrorCode> = new Set(['INTERNAL_SERVER_ERROR', 'SERVICE_UNAVAILABLE', 'REQUEST_TIMEOUT']);

function attributesOf({ type, name }: OperationName, codes: readonly ErrorCode[]): SpanAttributes {
  const [first] = codes;
  return {
    ...(type === null ? {} : { 'graphql.operation.type': type }),
    ...(name === null ? {} : { 'graphql.operation.name': name.slice(0, MAX_NAME_LENGTH) }),
    ...(first === undefined ? {} : { 'error.type': first, 'sessiongraph.error_codes': codes }),
  };
}

function endSpan(span: Span, name: string, attributes: SpanAttributes, codes: readonly ErrorCode[]): void {
  span.end({ name, attributes, failed: codes.some(code => FAILURE_CODES.has(code)) });
}

/**
 * Starts the span of an operation. Names and attributes follow OpenTelemetry's conventions for GraphQL servers; they contain neither the
 * document nor variables.
 * @param headers the trace context of the request
 */
export function startOperationSpan(tracer: Tracer | undefined, headers: TraceHeaders): OperationSpan {
  if (tracer === undefined) return UNTRACED;
  const span = tracer.startServerSpan(headers);
  return {
    traceId: span.traceId,
    run: work => span.run(work),
    async runEvent(operation, execute) {
      const eventSpan = span.startLinkedSpan();
      if (eventSpan === null) return execute();
      const end = (errors: readonly unknown[]) => {
        const codes = [...new Set(errors.map(codeOf))];
        endSpan(eventSpan, 'subscription event', attributesOf(operation, codes), codes);
      };
      try {
        const result = await eventSpan.run(execute);
        end(result.errors ?? []);
        return result;
      } catch (error) {
        end([error]);
        throw error;
      }
    },
    end({ type, name, requestId, codes }) {
      const attributes = { ...attributesOf({ type, name }, codes), 'sessiongraph.request_id': requestId };
      endSpan(span, type ?? 'GraphQL Operation', attributes, codes);
    },
  };
}
