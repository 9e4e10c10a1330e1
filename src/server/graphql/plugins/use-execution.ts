import type { ExecutionArgs } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { StreamClient } from '../../live/event-stream.ts';
import { type ExecutionOptions, executeOperation, type Operation, type OperationOrigin } from '../execution.ts';
import { subscribeOperation } from '../subscription.ts';

/** What a transport hands over with each operation; resolvers see the context made from it instead. */
export interface TransportContext extends Record<string, unknown> {
  readonly origin: OperationOrigin;
  /** Why the caller was not let in: the answer to the request. */
  readonly refusal?: unknown;
  /** Ends the stream of a subscription, and with it the response, where the server drains. */
  readonly ending?: AbortSignal;
  /** Whom an event stream is written to. */
  readonly client?: StreamClient;
}

/** How operations are run here. */
interface UseExecutionOptions {
  /** Whether messages on variables leave out names of the schema that may have been meant. */
  readonly hideSuggestions: boolean;
}

/** Runs operations with graphql-js, each execution and each event of a subscription in a context of its own. */
export function useExecution(options: ExecutionOptions, { hideSuggestions }: UseExecutionOptions): Plugin<TransportContext> {
  const toOperation = ({ schema, document, rootValue, variableValues, operationName }: ExecutionArgs): Operation => ({
    ...{ schema, document, rootValue, variableValues, operationName },
    hideSuggestions,
  });
  return {
    onExecute({ args, setExecuteFn }) {
      setExecuteFn(() => executeOperation(toOperation(args), args.contextValue.origin, options));
    },
    onSubscribe({ args, setSubscribeFn }) {
      const { origin, ending } = args.contextValue;
      setSubscribeFn(() => subscribeOperation(toOperation(args), origin, options, ending));
    },
  };
}
