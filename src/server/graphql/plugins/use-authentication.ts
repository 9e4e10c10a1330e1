import type { Plugin } from 'graphql-yoga';
import type { ErrorModel } from '../error-model.ts';
import type { TransportContext } from './use-execution.ts';

/**
 * Answers a request whose caller was not let in, before anything of it is parsed. To stand behind every other plugin that gives results
 * in place of an execution. A WebSocket is not opened for such a caller.
 */
export function useAuthentication(errors: ErrorModel): Plugin<TransportContext, TransportContext> {
  return {
    onParams({ context: { origin, refusal }, setResult }) {
      if (refusal !== undefined) setResult({ errors: [errors.present(refusal, { requestId: origin.requestId })] });
    },
  };
}
