import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ExecutionResult, GraphQLError } from 'graphql';
import { resumeCursorOf, toJson } from './event-result.ts';
import { yieldTurn } from './loop-turn.ts';

/** Timeouts of an event stream. */
export interface EventStreamTimeouts {
  /** Interval of comments, which show proxies and clients that the stream is alive. */
  readonly heartbeatMs?: number;
  /** A client is cut if it reads nothing for this long while data waits for it. */
  readonly stallMs?: number;
}

/** The client's end of a response. */
export interface StreamClient {
  /** Whether the client must read before more is written. */
  isFull(): boolean;
  /** Cuts the connection. */
  cut(): void;
}

/** What an event stream needs. */
interface EventStreamOptions extends EventStreamTimeouts {
  /** Aborts when the server drains. The stream then ends without completing the subscription. */
  readonly ending?: AbortSignal;
  readonly client: StreamClient;
  /** The cursor with which a client that has received all results so far can resume. Null while a result is being made, or if it cannot resume. */
  readonly settledCursor: () => string | null;
}

/** The controller of a `ReadableStream`. */
interface StreamController {
  enqueue(chunk: Uint8Array): void;
  close(): void;
}

/** The source of a `ReadableStream`. */
interface EventStreamSource {
  start(controller: StreamController): void;
  pull(controller: StreamController): Promise<void>;
  cancel(): Promise<void>;
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

/**
 * The source of an event stream in the distinct connections mode of GraphQL over SSE.
 *
 * Each result is an `event: next`, with the cursor of its event as `id:`. An EventSource sends it back as `Last-Event-ID` when it reconnects.
 * An `id:` without data comes at the start, and with heartbeats after events of other subscribers, so that a client without recent events
 * can resume, too. `event: complete` means that subscribing again would end the same way. If the server drains, the stream ends without it,
 * and clients reconnect. The source asks for the next result when there is room for it. If the stream is cancelled, the results are
 * returned.
 */
export function createEventStreamSource(
  results: AsyncIterator<ExecutionResult>,
  { heartbeatMs = 12_000, stallMs = 60_000, ending, client, settledCursor }: EventStreamOptions,
): EventStreamSource {
  let heartbeat: NodeJS.Timeout | undefined;
  let last: ExecutionResult = {};
  /** When a heartbeat last found that the client reads. */
  let lastReadAt = performance.now();
  let hasRead = false;
  let sentCursor: string | null = null;

  /** A line with the current cursor; empty if the client has it. */
  function cursorLine(): string {
    const cursor = settledCursor();
    if (cursor === null || cursor === sentCursor) return '';
    sentCursor = cursor;
    return `id: ${cursor}\n`;
  }

  async function end(controller: StreamController): Promise<void> {
    clearInterval(heartbeat);
    if (ending?.aborted === true) await delay(PAUSE_BEFORE_END_MS);
    else controller.enqueue(Buffer.from(completion(last)));
    controller.close();
  }

  return {
    start(controller) {
      // Some browsers report a response only after the first bytes of its body.
      controller.enqueue(Buffer.from(`retry: ${randomInt(...RECONNECT_MS)}\n${cursorLine()}\n`));
      heartbeat = setInterval(() => {
        const isFull = client.isFull();
        if (!isFull || hasRead) lastReadAt = performance.now();
        hasRead = false;
        if (!isFull) controller.enqueue(Buffer.from(`:\n${cursorLine()}\n`));
        else if (performance.now() - lastReadAt >= stallMs) client.cut();
      }, heartbeatMs);
    },
    async pull(controller) {
      hasRead = true;
      const turn = yieldTurn();
      if (turn !== undefined) await turn;
      try {
        const next = await results.next();
        if (next.done === true) return await end(controller);
        last = next.value;
      } catch (error) {
        last = { errors: [toGraphQLError(error)] };
        controller.enqueue(Buffer.from(frame(last)));
        return await end(controller);
      }
      controller.enqueue(Buffer.from(frame(last)));
    },
    async cancel() {
      clearInterval(heartbeat);
      await results.return?.();
    },
  };
}

/** Result streams of this server fail with GraphQL errors only. */
function toGraphQLError(error: unknown): GraphQLError {
  return error instanceof GraphQLError ? error : new GraphQLError(String(error));
}
