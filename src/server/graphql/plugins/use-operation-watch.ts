import type { Plugin } from 'graphql-yoga';
import type { OperationOrigin } from '../execution.ts';
import type { TransportContext } from './use-execution.ts';

/**
 * Reports the outcome of requests over HTTP that are not executed, and of subscriptions that do not start, to the watch. The runner of
 * operations reports all others. It must be the first plugin.
 */
export function useOperationWatch(): Plugin<TransportContext, TransportContext> {
  return {
    onSubscribe({ args }) {
      const { watch }: OperationOrigin = args.contextValue.origin;
      return {
        onSubscribeResult({ result }) {
          if (!(Symbol.asyncIterator in result)) watch?.end(result.errors);
        },
      };
    },
    // The WebSocket transport and plain JSON requests do that themselves.
    onResultProcess({ result, serverContext }) {
      if (!Array.isArray(result) && !(Symbol.asyncIterator in result)) serverContext.origin.watch?.end(result.errors);
    },
  };
}
