import type { TraceHeaders } from '../../postgres/tracer.ts';

/**
 * The trace that a request names: in its headers, over WebSocket in the `extensions` of the message, as there is no header for each operation.
 */
export function traceHeadersOf(fields: Readonly<Record<string, unknown>>): TraceHeaders {
  const { traceparent, tracestate } = fields;
  return { ...(typeof traceparent === 'string' ? { traceparent } : {}), ...(typeof tracestate === 'string' ? { tracestate } : {}) };
}
