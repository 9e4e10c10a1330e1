import type { Writable } from 'node:stream';
import type { Plugin } from 'graphql-yoga';
import type { OperationOrigin } from '../execution.ts';
import type { OperationRunner } from '../operation-runner.ts';

/** The context that a transport passes with each operation. Resolvers get the context that is made from it. */
export interface TransportContext extends Record<string, unknown> {
  readonly origin: OperationOrigin;
  /** Why the caller failed to authenticate. The request is answered with this error. */
  readonly authenticationError?: unknown;
  /** Aborts when the server drains. Ends the stream of a subscription, and with it the response. */
  readonly ending?: AbortSignal;
  /**
   * Receives the function that writes the event stream of a subscription. The response of Yoga has no body then: its streams would cost
   * much more memory than all else for an idle subscriber.
   */
  readonly onEventStream?: (write: (response: Writable) => void) => void;
}

/** Checks and executes operations by the runner that all transports share. It must come before plugins that reject subscriptions. */
export function useExecution(runner: OperationRunner): Plugin<TransportContext> {
  return {
    onExecute({ args, setExecuteFn }) {
      setExecuteFn(() => runner.run(args));
    },
    async onSubscribe({ args, setSubscribeFn, setResultAndStopExecution }) {
      const rejection = await runner.admit(args);
      if (rejection === null) setSubscribeFn(() => runner.subscribe(args));
      else setResultAndStopExecution(rejection);
    },
  };
}
