/** The attributes of a span. They never contain variables, content or the values of statements. */
export type SpanAttributes = Readonly<Record<string, string | number | readonly string[]>>;

/** The headers of W3C Trace Context as the request has them. Malformed ones are ignored. */
export interface TraceHeaders {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** A span: one piece of work with a start and an end. */
export interface Span {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Runs work with this span as the current one: spans that the work starts, also later, become its children. */
  within<Result>(work: () => Result): Result;
  /** Starts a new trace with a link to this span, for single events of a long-lived stream; null if this span is not sampled. */
  beginLinked(): Span | null;
  /** @param outcome.failed whether this server is at fault */
  end(outcome: { readonly name: string; readonly attributes: SpanAttributes; readonly failed: boolean }): void;
}

/** Starts spans. Without a tracer nothing is traced. */
export interface Tracer {
  /** Starts the span of a request: in the trace that its headers name, else in a new one. */
  beginServer(headers: TraceHeaders): Span;
  /** Whether the current span is sampled. Work outside a sampled span, such as the sweeper's, is not traced. */
  isUnderWay(): boolean;
  /** Starts a child of the current span: `client` for a call to another program. */
  beginChild(kind: 'client' | 'internal'): Span;
}
