import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { WatchedOperation } from '../../observe/operation-watch.ts';
import type { TransportContext } from './use-execution.ts';

function begin({ document, operationName, contextValue }: ExecutionArgs): WatchedOperation | undefined {
  const { watch } = (contextValue as TransportContext).origin;
  const operation = getOperationAST(document, operationName);
  if (operation) watch?.isFor(operation.operation, operation.name?.value ?? null);
  return watch;
}

/** The same stream, watched; a generator by hand, for the reason told in src/server/execution.ts. */
function watchStream(stream: AsyncIterator<ExecutionResult>, watch: WatchedOperation): AsyncGenerator<ExecutionResult, undefined> {
  const done = { done: true, value: undefined } as const;
  return {
    async next() {
      try {
        const next = await stream.next();
        if (next.done === true) {
          watch.ends(undefined);
          return done;
        }
        watch.sends(next.value.errors);
        return next;
      } catch (error) {
        watch.ends([error]);
        throw error;
      }
    },
    async return() {
      watch.ends(undefined);
      await stream.return?.();
      return done;
    },
    async throw(error) {
      watch.ends([error]);
      await stream.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
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
