import type { ExecutionResult, FormattedExecutionResult, GraphQLError, GraphQLFormattedError } from 'graphql';
import { encodeEventCursor } from '../../events/event-cursor.ts';
import type { OperationOrigin } from '../graphql/execution.ts';

/** Of the results of subscriptions: the cursor of the event each one tells of. Beside the result, so that it is never part of an answer. */
const cursors = new WeakMap<ExecutionResult, string>();

/** Of operations that are subscriptions: the source of their events. */
const sources = new WeakMap<OperationOrigin, object>();

/** Of results that have been sent: a result of one event goes to every subscriber who asked the same. */
const texts = new WeakMap<ExecutionResult, string>();

/** A line of an event stream takes anything but these. */
const UNFIT = /[\0\r\n]/;

/**
 * Where a subscriber goes on who has had this source event: its place in the event log where it is a row of it (`seq`), else the
 * `cursor` it carries itself. Null where it has neither: nobody can resume there.
 */
function cursorOfEvent(event: unknown): string | null {
  if (typeof event !== 'object' || event === null) return null;
  if ('seq' in event && typeof event.seq === 'bigint') return encodeEventCursor(event.seq);
  return 'cursor' in event && typeof event.cursor === 'string' && event.cursor !== '' && !UNFIT.test(event.cursor) ? event.cursor : null;
}

/** Notes down of which event a result tells. */
export function setResumeCursor(result: ExecutionResult, event: unknown): void {
  const cursor = cursorOfEvent(event);
  if (cursor !== null) cursors.set(result, cursor);
}

/** The cursor to resume after for whoever has had this result; null for one that tells of no event, such as a refusal. */
export function resumeCursorOf(result: ExecutionResult): string | null {
  return cursors.get(result) ?? null;
}

/** Notes down where the events of a subscription come from. */
export function setEventSource(origin: OperationOrigin, source: object): void {
  sources.set(origin, source);
}

/**
 * The cursor to resume after for whoever has taken all that a subscription has given so far, at its start and however long it has been silent;
 * null while a result is on its way, and where nobody can resume.
 */
export function settledCursorOf(origin: OperationOrigin): string | null {
  const source = sources.get(origin);
  if (source === undefined || !('settledSeq' in source) || typeof source.settledSeq !== 'bigint') return null;
  return encodeEventCursor(source.settledSeq);
}

/** An error as clients see it; `http` is for our own server. */
export function formatError(error: GraphQLError): GraphQLFormattedError {
  const { http: _, ...extensions } = error.extensions;
  return { ...error.toJSON(), extensions };
}

function format(result: ExecutionResult): FormattedExecutionResult {
  return result.errors === undefined ? result : { ...result, errors: result.errors.map(formatError) };
}

/** A result, its errors in their public form, as JSON; made once, however many it is sent to. */
export function toJson(result: ExecutionResult): string {
  const known = texts.get(result);
  if (known !== undefined) return known;
  const text = JSON.stringify(format(result));
  texts.set(result, text);
  return text;
}
