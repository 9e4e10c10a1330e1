import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { wrapAsyncIterator } from '../../../async-iterator.ts';
import type { WatchedOperation } from '../../observe/operation-watch.ts';
import type { TransportContext } from './use-execution.ts';

function identify({ document, operationName, contextValue }: ExecutionArgs): WatchedOperation | undefined {
  const { watch, access } = (contextValue as TransportContext).origin;
  const operation = getOperationAST(document, operationName);
  watch?.setOperation({ type: operation?.operation ?? null, name: operation?.name?.value ?? null, viewer: access.viewer.name });
  return watch;
}

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

/** Reports the operation and its outcome to the watch, for every transport. It must be the first plugin. */
export function useOperationWatch(): Plugin<TransportContext, TransportContext> {
  return {
    onExecute({ args }) {
      const watch = identify(args);
      return {
        onExecuteDone({ result }) {
          if (!(Symbol.asyncIterator in result)) watch?.end(result.errors);
        },
      };
    },
    onSubscribe({ args }) {
      const watch = identify(args);
      return {
        onSubscribeResult({ result, setResult }) {
          if (watch === undefined) return;
          if (!(Symbol.asyncIterator in result)) return watch.end(result.errors);
          watch.streamStarted();
          setResult(watchStream(result[Symbol.asyncIterator](), watch));
        },
      };
    },
    // Over HTTP this includes requests that were not executed. The WebSocket transport reports those itself.
    onResultProcess({ result, serverContext }) {
      if (!Array.isArray(result) && !(Symbol.asyncIterator in result)) serverContext.origin.watch?.end(result.errors);
    },
  };
}
