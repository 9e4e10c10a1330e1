import type { Plugin } from 'graphql-yoga';
import type { ErrorModel } from '../error-model.ts';
import type { TransportContext } from './use-execution.ts';

/**
 * Rejects requests of callers that failed to authenticate, before their documents are parsed. It must come after all plugins that replace
 * results in `onParams`. The WebSocket transport closes the connection of such a caller instead.
 */
export function useAuthentication(errors: ErrorModel): Plugin<TransportContext, TransportContext> {
  return {
    onParams({ context: { origin, authenticationError }, setResult }) {
      if (authenticationError !== undefined) setResult({ errors: [errors.present(authenticationError, { requestId: origin.requestId })] });
    },
  };
}
