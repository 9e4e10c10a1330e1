import type { ExecutionArgs } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { StreamClient } from '../../live/event-stream.ts';
import { type ExecutionOptions, executeOperation, type Operation, type OperationOrigin } from '../execution.ts';
import { subscribeOperation } from '../subscription.ts';

/** The context that a transport passes with each operation. Resolvers get the context that is made from it. */
export interface TransportContext extends Record<string, unknown> {
  readonly origin: OperationOrigin;
  /** Why the caller failed to authenticate. The request is answered with this error. */
  readonly authenticationError?: unknown;
  /** Aborts when the server drains. Ends the stream of a subscription, and with it the response. */
  readonly ending?: AbortSignal;
  /** The client that reads an event stream. */
  readonly client?: StreamClient;
}

/** Options of the plugin. */
interface UseExecutionOptions {
  /** Whether error messages about variables suggest no names from the schema. */
  readonly hideSuggestions: boolean;
}

/** Executes operations with graphql-js. Each execution, also for an event of a subscription, has a context of its own. */
export function useExecution(options: ExecutionOptions, { hideSuggestions }: UseExecutionOptions): Plugin<TransportContext> {
  const toOperation = ({ schema, document, rootValue, variableValues, operationName }: ExecutionArgs): Operation => ({
    schema,
    document,
    rootValue,
    variableValues,
    operationName,
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
