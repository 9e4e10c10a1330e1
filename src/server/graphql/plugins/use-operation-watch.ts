import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { wrapAsyncIterator } from '../../../async-iterator.ts';
import type { WatchedOperation } from '../../observe/operation-watch.ts';
import type { TransportContext } from './use-execution.ts';

function begin({ document, operationName, contextValue }: ExecutionArgs): WatchedOperation | undefined {
  const { watch, access } = (contextValue as TransportContext).origin;
  const operation = getOperationAST(document, operationName);
  if (operation) watch?.isFor(operation.operation, operation.name?.value ?? null);
  watch?.seenBy(access.viewer.name);
  return watch;
}

/** The same stream; the watch learns of each result, and of the end. */
function watchStream(
  stream: AsyncIterator<ExecutionResult, undefined>,
  watch: WatchedOperation,
): AsyncGenerator<ExecutionResult, undefined> {
  return wrapAsyncIterator(stream, {
    async next() {
      const next = await stream.next();
      if (next.done !== true) watch.sends(next.value.errors);
      return next;
    },
    onEnd: error => watch.ends(error === undefined ? undefined : [error]),
  });
}

/** Tells the operation's watch what it is and how it ended, whichever way it came in; to be the first plugin. */
export function useOperationWatch(): Plugin<TransportContext, TransportContext> {
  return {
    onExecute({ args }) {
      const watch = begin(args);
      return {
        onExecuteDone({ result }) {
          if (!(Symbol.asyncIterator in result)) watch?.ends(result.errors);
        },
      };
    },
    onSubscribe({ args }) {
      const watch = begin(args);
      return {
        onSubscribeResult({ result, setResult }) {
          if (watch === undefined) return;
          if (!(Symbol.asyncIterator in result)) return watch.ends(result.errors);
          watch.streams();
          setResult(watchStream(result[Symbol.asyncIterator](), watch));
        },
      };
    },
    // Over HTTP also what never came to be executed; a WebSocket tells of that itself.
    onResultProcess({ result, serverContext }) {
      if (!Array.isArray(result) && !(Symbol.asyncIterator in result)) serverContext.origin.watch?.ends(result.errors);
    },
  };
}
