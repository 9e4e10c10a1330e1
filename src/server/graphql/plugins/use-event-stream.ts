import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { settledCursorOf } from '../../live/event-result.ts';
import { createEventStreamSource, type EventStreamTimeouts, type StreamClient, toSingleEventStream } from '../../live/event-stream.ts';
import type { TransportContext } from './use-execution.ts';

const EVENT_STREAM = 'text/event-stream';

/** Yoga adds headers to the object it gets, so each response gets a copy. */
const HEADERS: Readonly<Record<string, string>> = {
  'content-type': EVENT_STREAM,
  // Proxies that buffer or compress the stream would delay events.
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/** The client of a request that has no connection, as in tests. */
const UNKNOWN_CLIENT: StreamClient = { isFull: () => false, cut: () => undefined };

/** Whether the client accepts nothing but event streams, like EventSource and graphql-sse. */
function acceptsEventStreamOnly(request: Request): boolean {
  return request.headers.get('accept')?.trim().toLowerCase() === EVENT_STREAM;
}

/** Whether an error has an HTTP status that applies to every media type. Yoga answers with that status. */
function hasHttpStatus({ errors = [] }: ExecutionResult): boolean {
  return errors.some(({ extensions }) => extensions.http !== undefined && extensions.http.spec !== true);
}

/** Writes event streams instead of Yoga, whose events have no ids. */
export function useEventStream(timeouts: EventStreamTimeouts = {}): Plugin<TransportContext, TransportContext> {
  return {
    onResultProcess({ request, result, resultProcessor, setResultProcessor, serverContext: { origin, ending, client = UNKNOWN_CLIENT } }) {
      if (resultProcessor === undefined || Array.isArray(result)) return;
      if (Symbol.asyncIterator in result) {
        const results = result[Symbol.asyncIterator]();
        const settledCursor = () => settledCursorOf(origin);
        const source = createEventStreamSource(results, { ...timeouts, ending, client, settledCursor });
        setResultProcessor(
          (_result, { Response, ReadableStream }) => new Response(new ReadableStream(source), { headers: { ...HEADERS } }),
          EVENT_STREAM,
        );
      } else if (acceptsEventStreamOnly(request) && !hasHttpStatus(result)) {
        setResultProcessor((_result, { Response }) => new Response(toSingleEventStream(result), { headers: { ...HEADERS } }), EVENT_STREAM);
      }
    },
  };
}
