import { sqlStateOf } from './sql-state.ts';

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
  run<Result>(work: () => Result): Result;
  /** Starts a new trace with a link to this span, for single events of a long-lived stream; null if this span is not sampled. */
  startLinkedSpan(): Span | null;
  /** @param outcome.failed whether this server is at fault */
  end(outcome: { readonly name: string; readonly attributes: SpanAttributes; readonly failed: boolean }): void;
}

/** Starts spans. Without a tracer nothing is traced. */
export interface Tracer {
  /** Starts the span of a request: in the trace that its headers name, else in a new one. */
  startServerSpan(headers: TraceHeaders): Span;
  /** Whether the current span is sampled. Work outside a sampled span, such as the sweeper's, is not traced. */
  isSampled(): boolean;
  /** Starts a child of the current span: `client` for a call to another program. */
  startChildSpan(kind: 'client' | 'internal'): Span;
}

const MAX_LENGTH = 255;

/** A keyword and the table of ours after it. Other names (a CTE, a function) are ignored. */
const TARGET = /\b(insert\s+into|update|delete\s+from|merge\s+into|from|join|using)\s+(?:only\s+)?(?:aria_engine\.)("?\w+"?)/gi;
const FIRST_WORD = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*(\w+)/;

function verbOf(keyword: string): string {
  const [verb = ''] = keyword.toUpperCase().split(/\s/);
  return ['FROM', 'JOIN', 'USING'].includes(verb) ? 'SELECT' : verb;
}

/**
 * The operations and tables of a statement, in the order of its text, such as `UPDATE chat_sessions INSERT chat_messages`: OpenTelemetry's
 * `db.query.summary`. Contains no values. The statement's first word if it names none of our tables.
 * @param sql the text, with placeholders for values
 */
export function summarizeStatement(sql: string): string {
  const words: string[] = [];
  const seen = new Set<string>();
  let verb = '';
  for (const [, keyword = '', table = ''] of sql.matchAll(TARGET)) {
    const next = verbOf(keyword);
    if (seen.has(`${next} ${table}`)) continue;
    seen.add(`${next} ${table}`);
    if (next !== verb) words.push(next);
    verb = next;
    words.push(table);
  }
  const summary = words.length > 0 ? words.join(' ') : (FIRST_WORD.exec(sql)?.[1]?.toUpperCase() ?? 'SQL');
  return summary.slice(0, MAX_LENGTH);
}

/** Work of the database as a span describes it. */
interface DatabaseWork {
  /** `client`: one statement; `internal`: a transaction around several. */
  readonly kind: 'client' | 'internal';
  readonly name: string;
}

/** Runs database work; in a span of its own if the caller is traced. */
export type TraceDatabaseWork = <Result>(work: () => Promise<Result>, describe: () => DatabaseWork) => Promise<Result>;

/**
 * Returns the function that traces database work. Attributes follow OpenTelemetry's semantic conventions for database spans.
 * @param tracer nothing is traced without one
 * @param database the database's name
 */
export function createDatabaseTracing(tracer: Tracer | undefined, database: string): TraceDatabaseWork {
  return (work, describe) => (tracer?.isSampled() ? traceWork(tracer, work, describe) : work());

  async function traceWork<Result>(tracing: Tracer, work: () => Promise<Result>, describe: () => DatabaseWork): Promise<Result> {
    const span = tracing.startChildSpan(describe().kind);
    const end = (failure: SpanAttributes, failed: boolean) => {
      // The name of a shared statement is known only once it has been sent.
      const { kind, name } = describe();
      const summary: SpanAttributes = kind === 'client' ? { 'db.query.summary': name } : {};
      span.end({ name, attributes: { 'db.system.name': 'postgresql', 'db.namespace': database, ...summary, ...failure }, failed });
    };
    try {
      const result = await span.run(work);
      end({}, false);
      return result;
    } catch (error) {
      const state = sqlStateOf(error);
      const type = state ?? (error instanceof Error ? error.name : 'unknown');
      end({ ...(state === null ? {} : { 'db.response.status_code': state }), 'error.type': type }, true);
      throw error;
    }
  }
}
