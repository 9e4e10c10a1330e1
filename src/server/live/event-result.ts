import type { ExecutionResult, FormattedExecutionResult, GraphQLError, GraphQLFormattedError } from 'graphql';
import { encodeEventCursor } from '../../events/event-cursor.ts';
import type { OperationOrigin } from '../graphql/execution.ts';

/** The cursor of the event behind each result of a subscription. Kept outside the result so that it never appears in a response. */
const cursors = new WeakMap<ExecutionResult, string>();

/** The source of the events of each subscription. */
const sources = new WeakMap<OperationOrigin, object>();

/** The JSON of results that have been sent. Subscribers that share an execution get the same result. */
const jsonTexts = new WeakMap<ExecutionResult, string>();

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

/** Remembers the event behind a result. */
export function setResumeCursor(result: ExecutionResult, event: unknown): void {
  const cursor = cursorOfEvent(event);
  if (cursor !== null) cursors.set(result, cursor);
}

/** The cursor with which a client resumes after this result; null if the result belongs to no event, such as a rejection. */
export function resumeCursorOf(result: ExecutionResult): string | null {
  return cursors.get(result) ?? null;
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

/** The same, for the result of a subscription: serialised once, however many subscribers get it. */
export function toJson(result: ExecutionResult): string {
  const known = jsonTexts.get(result);
  if (known !== undefined) return known;
  const text = serializeResult(result);
  jsonTexts.set(result, text);
  return text;
}
