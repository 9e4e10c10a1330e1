import type { ExecutionResult, FormattedExecutionResult, GraphQLError, GraphQLFormattedError } from 'graphql';
import { encodeEventCursor } from '../../events/event-cursor.ts';
import type { OperationOrigin } from '../graphql/execution.ts';

/** The source of the events of each subscription. */
const sources = new WeakMap<OperationOrigin, object>();

/** Characters that a line of an event stream cannot contain. */
const INVALID_IN_LINE = /[\0\r\n]/;

/**
 * The cursor with which a subscriber resumes after this event. It encodes the event's position in the event log (`seq`); other events have a
 * `cursor` of their own. Null if the event has neither.
 */
function cursorOfEvent(event: unknown): string | null {
  if (typeof event !== 'object' || event === null) return null;
  if ('seq' in event && typeof event.seq === 'bigint') return encodeEventCursor(event.seq);
  if (!('cursor' in event) || typeof event.cursor !== 'string') return null;
  return event.cursor === '' || INVALID_IN_LINE.test(event.cursor) ? null : event.cursor;
}

/** The result of a subscription for one event. Subscribers that share an execution get the same object. */
export class EventResult implements ExecutionResult {
  declare readonly data?: ExecutionResult['data'];
  declare readonly errors?: ExecutionResult['errors'];
  declare readonly extensions?: ExecutionResult['extensions'];
  readonly #event: unknown;
  #json: string | null = null;

  /** @param result its errors are in their public form */
  constructor(result: ExecutionResult, event: unknown) {
    Object.assign(this, result);
    this.#event = event;
  }

  /** The cursor with which a client resumes after this result. Null if the event has none. */
  get resumeCursor(): string | null {
    return cursorOfEvent(this.#event);
  }

  /** The JSON of the result: serialised once, however many subscribers get it. */
  get json(): string {
    this.#json ??= serializeResult(this);
    return this.#json;
  }
}

/** The cursor with which a client resumes after this result; null if the result belongs to no event, such as a rejection. */
export function resumeCursorOf(result: ExecutionResult): string | null {
  return result instanceof EventResult ? result.resumeCursor : null;
}

/** Remembers the source of a subscription's events. */
export function setEventSource(origin: OperationOrigin, source: object): void {
  sources.set(origin, source);
}

/**
 * The cursor with which a client that has received all results so far can resume, even if there has been no result yet, or none for a long
 * time. Null while a result is being made, or if the subscription cannot be resumed.
 */
export function settledCursorOf(origin: OperationOrigin): string | null {
  const source = sources.get(origin);
  if (source === undefined || !('settledSeq' in source) || typeof source.settledSeq !== 'bigint') return null;
  return encodeEventCursor(source.settledSeq);
}

/** An error as clients get it: without `extensions.http`, which is for this server only. */
export function formatError(error: GraphQLError): GraphQLFormattedError {
  const { http: _, ...extensions } = error.extensions;
  return { ...error.toJSON(), extensions };
}

/** The JSON of a result whose errors are in their public form. */
export function serializeResult(result: ExecutionResult): string {
  const formatted: FormattedExecutionResult = result.errors === undefined ? result : { ...result, errors: result.errors.map(formatError) };
  return JSON.stringify(formatted);
}

/** The same, serialised once if several subscribers get the result. */
export function toJson(result: ExecutionResult): string {
  return result instanceof EventResult ? result.json : serializeResult(result);
}
