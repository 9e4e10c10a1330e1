import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { wrapAsyncIterator } from '../../../async-iterator.ts';
import type { WatchedOperation } from '../../observe/operation-watch.ts';
import type { OperationOrigin } from '../execution.ts';
import type { TransportContext } from './use-execution.ts';

/** The same stream. It reports each result and its end to the watch. */
function watchStream(
  stream: AsyncIterator<ExecutionResult, undefined>,
  watch: WatchedOperation,
): AsyncGenerator<ExecutionResult, undefined> {
  return wrapAsyncIterator(stream, {
    async next() {
      const next = await stream.next();
      if (next.done !== true) watch.addResult(next.value.errors);
      return next;
    },
    onEnd: error => watch.end(error === undefined ? undefined : [error]),
  });
}

/**
 * Reports the results of subscriptions to the watch, and over HTTP the outcome of requests that are not executed. The runner of operations
 * reports queries and mutations. It must be the first plugin.
 */
export function useOperationWatch(): Plugin<TransportContext, TransportContext> {
  return {
    onSubscribe({ args }) {
      const { watch }: OperationOrigin = args.contextValue.origin;
      return {
        onSubscribeResult({ result, setResult }) {
          if (watch === undefined) return;
          if (!(Symbol.asyncIterator in result)) return watch.end(result.errors);
          watch.streamStarted();
          setResult(watchStream(result[Symbol.asyncIterator](), watch));
        },
      };
    },
    // The WebSocket transport and plain JSON requests do that themselves.
    onResultProcess({ result, serverContext }) {
      if (!Array.isArray(result) && !(Symbol.asyncIterator in result)) serverContext.origin.watch?.end(result.errors);
    },
  };
}
