/** What a span says; never variables, content or values of statements. */
export type SpanAttributes = Readonly<Record<string, string | number | readonly string[]>>;

/** Headers of W3C Trace Context, as they came; what is not well formed counts for nothing. */
export interface TraceHeaders {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** One piece of work as tracing sees it, from its beginning to its end. */
export interface Span {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Runs work so that what it begins, also later, belongs to this span. */
  within<Result>(work: () => Result): Result;
  /** Begins a trace of its own that points to this one, for what a long-lived piece of work does now and then; null where this one is not kept. */
  beginLinked(): Span | null;
  /** @param outcome.failed where the fault is on this side */
  end(outcome: { readonly name: string; readonly attributes: SpanAttributes; readonly failed: boolean }): void;
}

/** Begins spans. Where there is none, nothing is traced. */
export interface Tracer {
  /** Work that another program asked for, in the trace it names, else in one of its own. */
  beginServer(headers: TraceHeaders): Span;
  /** Whether this is called within a span that is kept: what else is done, for nobody in particular, is not traced. */
  isUnderWay(): boolean;
  /** Work within what is under way: `client` where another program does it. */
  beginChild(kind: 'client' | 'internal'): Span;
}
