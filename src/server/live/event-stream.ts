import { randomInt } from 'node:crypto';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type ExecutionResult, GraphQLError } from 'graphql';
import { EndableGenerator } from '../../async-iterator.ts';
import { resumeCursorOf, toJson } from './event-result.ts';
import { yieldTurn } from './loop-turn.ts';

/** Timeouts of an event stream. */
export interface EventStreamTimeouts {
  /** Interval of comments, which show proxies and clients that the stream is alive. */
  readonly heartbeatMs?: number;
  /** A client is cut if it reads nothing for this long while data waits for it. */
  readonly stallMs?: number;
}

/** What an event stream needs. */
interface EventStreamOptions extends EventStreamTimeouts {
  /** Aborts when the server drains. The stream then ends without completing the subscription. */
  readonly ending?: AbortSignal;
  /** The cursor with which a client that has received all results so far can resume. Null while a result is being made, or if it cannot resume. */
  readonly settledCursor: () => string | null;
}

/** Range of the reconnection time sent to an EventSource. It is random, so that clients do not all return at once after a deployment. */
const RECONNECT_MS = [500, 2_000] as const;

/** Reconnection time after an error that may be over by then. */
const RETRY_MS = 5_000;

/** Reconnection time after `complete`. An EventSource that is not closed takes the end of the stream for a lost connection and reconnects. */
const DAY_MS = 86_400_000;

/** Pause before the stream ends. graphql-sse 2.6 hangs if the end arrives together with the last event. */
const PAUSE_BEFORE_END_MS = 100;

function frame(result: ExecutionResult): string {
  const cursor = resumeCursorOf(result);
  return `${cursor === null ? '' : `id: ${cursor}\n`}event: next\ndata: ${toJson(result)}\n\n`;
}

/** How long a client should wait before it subscribes again after this last result, in milliseconds. */
function reconnectTimeAfter({ errors = [] }: ExecutionResult): number {
  let retryMs = DAY_MS;
  for (const { extensions } of errors) {
    if (extensions.retryable !== true) return DAY_MS;
    const { details } = extensions;
    const hasRetryTime = typeof details === 'object' && details !== null && 'retryAfterMs' in details;
    retryMs = Math.ceil(hasRetryTime ? Number(details.retryAfterMs) : RETRY_MS);
  }
  return retryMs;
}

function completion(last: ExecutionResult): string {
  return `event: complete\nretry: ${reconnectTimeAfter(last)}\ndata:\n\n`;
}

/** The event stream of one result: of a query, or of a subscription that was rejected. */
export function toSingleEventStream(result: ExecutionResult): string {
  return frame(result) + completion(result);
}

/** Sends everything that is written in this turn of the event loop with one system call. */
function writeInTurn(response: Writable, text: string): boolean {
  if (response.writableCorked === 0) {
    response.cork();
    process.nextTick(() => response.uncork());
  }
  return response.write(text);
}

/** Resolves when the client has read what waits for it, or has disconnected. */
function whenDrained(response: Writable): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}

/**
 * Writes an event stream in the distinct connections mode of GraphQL over SSE to the body of a response.
 *
 * Each result is an `event: next`, with the cursor of its event as `id:`. An EventSource sends it back as `Last-Event-ID` when it reconnects.
 * An `id:` without data comes at the start, and with heartbeats after events of other subscribers, so that a client without recent events
 * can resume, too. `event: complete` means that subscribing again would end the same way. If the server drains, the stream ends without it,
 * and clients reconnect. The stream takes the next result when the client has read most of the earlier ones. If the client disconnects, the
 * results are returned.
 */
export async function writeEventStream(
  results: AsyncIterator<ExecutionResult>,
  response: Writable,
  { heartbeatMs = 12_000, stallMs = 60_000, ending, settledCursor }: EventStreamOptions,
): Promise<void> {
  let last: ExecutionResult = {};
  /** When a heartbeat last found that the client reads. */
  let lastReadAt = performance.now();
  let hasRead = true;
  let sentCursor: string | null = null;

  /** A line with the current cursor; empty if the client has it. */
  function cursorLine(): string {
    const cursor = settledCursor();
    if (cursor === null || cursor === sentCursor) return '';
    sentCursor = cursor;
    return `id: ${cursor}\n`;
  }

  const heartbeat = setInterval(() => {
    const isFull = response.writableNeedDrain;
    if (!isFull || hasRead) lastReadAt = performance.now();
    hasRead = false;
    if (!isFull) response.write(`:\n${cursorLine()}\n`);
    else if (performance.now() - lastReadAt >= stallMs) response.destroy();
  }, heartbeatMs);

  async function send(result: ExecutionResult): Promise<void> {
    last = result;
    if (!writeInTurn(response, frame(result))) await whenDrained(response);
    hasRead = true;
  }

  async function sendAll(): Promise<void> {
    for (;;) {
      const turn = yieldTurn();
      if (turn !== undefined) await turn;
      const next = takeNow(results) ?? (await results.next());
      if (next.done === true || response.destroyed) return;
      await send(next.value);
    }
  }

  response.once('close', () => {
    clearInterval(heartbeat);
    const returnResults = async () => results.return?.();
    returnResults().catch(() => undefined);
  });
  // Some browsers report a response only after the first bytes of its body.
  response.write(`retry: ${randomInt(...RECONNECT_MS)}\n${cursorLine()}\n`);
  try {
    await sendAll();
  } catch (error) {
    await send({ errors: [toGraphQLError(error)] });
  }
  clearInterval(heartbeat);
  if (ending?.aborted === true) await delay(PAUSE_BEFORE_END_MS);
  else response.write(completion(last));
  response.end();
}

/** The next result if that takes no waiting. */
function takeNow(results: AsyncIterator<ExecutionResult>): IteratorResult<ExecutionResult, undefined> | null {
  const value = results instanceof EndableGenerator ? results.takeNow() : null;
  return value === null ? null : { done: false, value };
}

/** Result streams of this server fail with GraphQL errors only. */
function toGraphQLError(error: unknown): GraphQLError {
  return error instanceof GraphQLError ? error : new GraphQLError(String(error));
}
