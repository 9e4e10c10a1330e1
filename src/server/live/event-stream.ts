import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ExecutionResult, GraphQLError } from 'graphql';
import { resumeCursorOf, toJson } from './event-result.ts';
import { yieldTurn } from './loop-turn.ts';

/** How a stream is kept alive. */
export interface EventStreamPace {
  /** Every so often a comment is sent, which tells proxies and clients that the stream lives. */
  readonly heartbeatMs?: number;
  /** A client that has read nothing for so long, while something waits for it, is cut. */
  readonly stallMs?: number;
}

/** The client's end of a response. */
export interface StreamClient {
  /** Whether no more is to be written before the client has read. */
  isFull(): boolean;
  /** Cuts the connection. */
  cut(): void;
}

/** What an event stream is made for. */
interface EventStreamOptions extends EventStreamPace {
  /** Aborted where the server drains: the end of the stream is not that of the subscription. */
  readonly ending?: AbortSignal;
  readonly client: StreamClient;
  /** The cursor to resume after for whoever has taken all results so far; null while one is on its way, and where nobody can resume. */
  readonly settledCursor: () => string | null;
}

/** Where a `ReadableStream` takes its chunks. */
interface EventSink {
  enqueue(chunk: Uint8Array): void;
  close(): void;
}

/** What a `ReadableStream` is made from. */
interface EventSourceBody {
  start(body: EventSink): void;
  pull(body: EventSink): Promise<void>;
  cancel(): Promise<void>;
}

/** When an EventSource comes again after the connection ended, at the soonest and the latest: after a deploy not all come at once. */
const RECONNECT_MS = [500, 2_000] as const;

/** When it comes again after a failure that may be over then. */
const RETRY_MS = 5_000;

/** When it comes again after `complete`, where nobody has closed it: an EventSource knows no end. */
const DAY_MS = 86_400_000;

/** A client may take the end of a stream for part of its last event where both come at once, and wait for ever: graphql-sse 2.6 does. */
const PARTING_MS = 100;

function frame(result: ExecutionResult): string {
  const cursor = resumeCursorOf(result);
  return `${cursor === null ? '' : `id: ${cursor}\n`}event: next\ndata: ${toJson(result)}\n\n`;
}

/** Of the last result, for how long there is no point in coming again, in milliseconds. */
function retryAfterOf({ errors = [] }: ExecutionResult): number {
  let retryMs = DAY_MS;
  for (const { extensions } of errors) {
    if (extensions.retryable !== true) return DAY_MS;
    const { details } = extensions;
    const told = typeof details === 'object' && details !== null && 'retryAfterMs' in details ? Number(details.retryAfterMs) : RETRY_MS;
    retryMs = Math.ceil(told);
  }
  return retryMs;
}

function completion(last: ExecutionResult): string {
  return `event: complete\nretry: ${retryAfterOf(last)}\ndata:\n\n`;
}

/** The stream of a subscription that was refused, or of a query: one result. */
export function toSingleEventStream(result: ExecutionResult): string {
  return frame(result) + completion(result);
}

/**
 * The source of the body of an event stream in the distinct connections mode of GraphQL over SSE: each result as `event: next`, with the cursor
 * of its event as `id:`, which an EventSource sends back as `Last-Event-ID` when it connects again. `event: complete` comes where the
 * subscription is over: whoever comes again would get the same end. Where the server drains, the stream just ends, so that clients connect
 * again. An `id:` without data comes at the start and where others' events have gone by since, so that whoever has had no event yet, or none for
 * a long time, resumes too. The next result is asked for when there is room for it; where the body is given up, the results are returned.
 */
export function createEventSource(
  results: AsyncIterator<ExecutionResult>,
  { heartbeatMs = 12_000, stallMs = 60_000, ending, client, settledCursor }: EventStreamOptions,
): EventSourceBody {
  let heartbeat: NodeJS.Timeout | undefined;
  let last: ExecutionResult = {};
  /** Since when the client has not been seen to read, by the heartbeat. */
  let readAt = performance.now();
  let hasRead = false;
  let told: string | null = null;

  /** Empty where the client knows. */
  function place(): string {
    const cursor = settledCursor();
    if (cursor === null || cursor === told) return '';
    told = cursor;
    return `id: ${cursor}\n`;
  }

  async function end(body: EventSink): Promise<void> {
    clearInterval(heartbeat);
    if (ending?.aborted === true) await delay(PARTING_MS);
    else body.enqueue(Buffer.from(completion(last)));
    body.close();
  }

  return {
    start(body) {
      // Some browsers show nothing of an answer before something of its body has come.
      body.enqueue(Buffer.from(`retry: ${randomInt(...RECONNECT_MS)}\n${place()}\n`));
      heartbeat = setInterval(() => {
        const isFull = client.isFull();
        if (!isFull || hasRead) readAt = performance.now();
        hasRead = false;
        if (!isFull) body.enqueue(Buffer.from(`:\n${place()}\n`));
        else if (performance.now() - readAt >= stallMs) client.cut();
      }, heartbeatMs);
    },
    async pull(body) {
      hasRead = true;
      await yieldTurn();
      try {
        const next = await results.next();
        if (next.done === true) return await end(body);
        last = next.value;
      } catch (error) {
        last = { errors: [toGraphQLError(error)] };
        body.enqueue(Buffer.from(frame(last)));
        return await end(body);
      }
      body.enqueue(Buffer.from(frame(last)));
    },
    async cancel() {
      clearInterval(heartbeat);
      await results.return?.();
    },
  };
}

/** Streams of this server fail with errors in their public form. */
function toGraphQLError(error: unknown): GraphQLError {
  return error instanceof GraphQLError ? error : new GraphQLError(String(error));
}
