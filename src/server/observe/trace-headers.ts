import type { TraceHeaders } from '../../postgres/tracing.ts';

/**
 * The trace context of a request.
 * @param fields the headers of an HTTP request, or the `extensions` of a WebSocket message, which has no headers
 */
export function traceHeadersOf(fields: Readonly<Record<string, unknown>>): TraceHeaders {
  const { traceparent, tracestate } = fields;
  return { ...(typeof traceparent === 'string' ? { traceparent } : {}), ...(typeof tracestate === 'string' ? { tracestate } : {}) };
}
