import type { ExecutionResult, OperationTypeNode } from 'graphql';
import type { ErrorCode } from '../../errors.ts';
import type { Span, SpanAttributes, TraceHeaders, Tracer } from '../../postgres/tracer.ts';
import { codeOf } from '../graphql/error-model.ts';

/** What an operation is, as far as that is known. */
interface OperationName {
  readonly type: `${OperationTypeNode}` | null;
  readonly name: string | null;
}

/** How one operation is traced. */
export interface OperationSpan {
  readonly traceId: string | null;
  /** Runs what belongs to the operation. */
  within<Result>(work: () => Result): Result;
  /** Runs the answer to one event of a subscription in a trace of its own that points to the subscription's. */
  delivers(operation: OperationName, work: () => Promise<ExecutionResult>): Promise<ExecutionResult>;
  /** The answer is there; of a subscription, its stream has begun or was refused. */
  answered(operation: OperationName & { readonly requestId: string; readonly codes: readonly ErrorCode[] }): void;
}

const UNTRACED: OperationSpan = {
  traceId: null,
  within: work => work(),
  delivers: (_operation, work) => work(),
  answered: () => undefined,
};

const MAX_NAME = 128;

/** A caller's mistake is no failure of the server, as OpenTelemetry has it for servers of HTTP. */
const FAILURES: ReadonlySet<ErrorCode> = new Set(['INTERNAL_SERVER_ERROR', 'SERVICE_UNAVAILABLE', 'REQUEST_TIMEOUT']);

function attributesOf({ type, name }: OperationName, codes: readonly ErrorCode[]): SpanAttributes {
  const [first] = codes;
  return {
    ...(type === null ? {} : { 'graphql.operation.type': type }),
    ...(name === null ? {} : { 'graphql.operation.name': name.slice(0, MAX_NAME) }),
    ...(first === undefined ? {} : { 'error.type': first, 'sessiongraph.error_codes': codes }),
  };
}

function endSpan(span: Span, name: string, attributes: SpanAttributes, codes: readonly ErrorCode[]): void {
  span.end({ name, attributes, failed: codes.some(code => FAILURES.has(code)) });
}

/**
 * Begins the span of an operation, named and described as OpenTelemetry's conventions for GraphQL servers say; neither document nor
 * variables are in it.
 * @param headers of the request, which may name the trace it belongs to
 */
export function beginOperationSpan(tracer: Tracer | undefined, headers: TraceHeaders): OperationSpan {
  if (tracer === undefined) return UNTRACED;
  const span = tracer.beginServer(headers);
  return {
    traceId: span.traceId,
    within: work => span.within(work),
    async delivers(operation, work) {
      const delivery = span.beginLinked();
      if (delivery === null) return work();
      const result = await delivery.within(work);
      const codes = [...new Set(result.errors?.map(codeOf) ?? [])];
      endSpan(delivery, 'subscription event', attributesOf(operation, codes), codes);
      return result;
    },
    answered({ type, name, requestId, codes }) {
      const attributes = { ...attributesOf({ type, name }, codes), 'sessiongraph.request_id': requestId };
      endSpan(span, type ?? 'GraphQL Operation', attributes, codes);
    },
  };
}
