import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { settledCursorOf } from '../../live/event-result.ts';
import { createEventSource, type EventStreamPace, type StreamClient, toSingleEventStream } from '../../live/event-stream.ts';
import type { TransportContext } from './use-execution.ts';

const EVENT_STREAM = 'text/event-stream';

/** Yoga writes into what it is given: each response gets a copy. */
const HEADERS: Readonly<Record<string, string>> = {
  'content-type': EVENT_STREAM,
  // A proxy that gathers or packs what comes would hold back events.
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/** Of a request that comes without a connection. */
const UNKNOWN_CLIENT: StreamClient = { isFull: () => false, cut: () => undefined };

/** A client that takes nothing else, as EventSource and graphql-sse. */
function takesEventsOnly(request: Request): boolean {
  return request.headers.get('accept')?.trim().toLowerCase() === EVENT_STREAM;
}

/** Where an error has a status over every media type, Yoga gives it. */
function hasOwnStatus({ errors = [] }: ExecutionResult): boolean {
  return errors.some(({ extensions }) => extensions.http !== undefined && extensions.http.spec !== true);
}

/** Writes event streams in place of Yoga, whose events have no ids. */
export function useEventStream(pace: EventStreamPace = {}): Plugin<TransportContext, TransportContext> {
  return {
    onResultProcess({ request, result, resultProcessor, setResultProcessor, serverContext: { origin, ending, client = UNKNOWN_CLIENT } }) {
      if (resultProcessor === undefined || Array.isArray(result)) return;
      if (Symbol.asyncIterator in result) {
        const results = result[Symbol.asyncIterator]();
        const source = createEventSource(results, { ...pace, ending, client, settledCursor: () => settledCursorOf(origin) });
        setResultProcessor(
          (_result, { Response, ReadableStream }) => new Response(new ReadableStream(source), { headers: { ...HEADERS } }),
          EVENT_STREAM,
        );
      } else if (takesEventsOnly(request) && !hasOwnStatus(result)) {
        setResultProcessor((_result, { Response }) => new Response(toSingleEventStream(result), { headers: { ...HEADERS } }), EVENT_STREAM);
      }
    },
  };
}
