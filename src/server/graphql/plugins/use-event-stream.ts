import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { settledCursorOf } from '../../live/event-result.ts';
import { type EventStreamTimeouts, toSingleEventStream, writeEventStream } from '../../live/event-stream.ts';
import type { OperationOrigin } from '../execution.ts';
import type { TransportContext } from './use-execution.ts';

const EVENT_STREAM = 'text/event-stream';

/** Yoga adds headers to the object it gets, so each response gets a copy. */
const HEADERS: Readonly<Record<string, string>> = {
  'content-type': EVENT_STREAM,
  // Proxies that buffer or compress the stream would delay events.
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/** Whether the client accepts nothing but event streams, like EventSource and graphql-sse. */
function acceptsEventStreamOnly(request: Request): boolean {
  return request.headers.get('accept')?.trim().toLowerCase() === EVENT_STREAM;
}

/** Whether an error has an HTTP status that applies to every media type. Yoga answers with that status. */
function hasHttpStatus({ errors = [] }: ExecutionResult): boolean {
  return errors.some(({ extensions }) => extensions.http !== undefined && extensions.http.spec !== true);
}

/** Writes event streams instead of Yoga, whose events have no ids. It must come after the plugins that wrap the results of subscriptions. */
export function useEventStream(timeouts: EventStreamTimeouts = {}): Plugin<TransportContext, TransportContext> {
  /** The results of each subscription as it gives them. Yoga passes them on in a wrapper that keeps the whole request in memory. */
  const streams = new WeakMap<OperationOrigin, AsyncIterator<ExecutionResult>>();

  return {
    onSubscribe({ args }) {
      const { origin }: TransportContext = args.contextValue;
      return {
        onSubscribeResult({ result }) {
          if (Symbol.asyncIterator in result) streams.set(origin, result[Symbol.asyncIterator]());
        },
      };
    },
    onResultProcess({ request, result, resultProcessor, setResultProcessor, serverContext: { origin, ending, onEventStream } }) {
      if (resultProcessor === undefined || Array.isArray(result)) return;
      if (Symbol.asyncIterator in result) {
        const results = streams.get(origin) ?? result[Symbol.asyncIterator]();
        // A closure would keep `result`, and with it the request, in memory.
        const settledCursor = settledCursorOf.bind(null, origin);
        setResultProcessor((_result, { Response }) => {
          onEventStream?.(response => void writeEventStream(results, response, { ...timeouts, ending, settledCursor }));
          return new Response(null, { headers: { ...HEADERS } });
        }, EVENT_STREAM);
      } else if (acceptsEventStreamOnly(request) && !hasHttpStatus(result)) {
        setResultProcessor((_result, { Response }) => new Response(toSingleEventStream(result), { headers: { ...HEADERS } }), EVENT_STREAM);
      }
    },
  };
}
