import { type ExecutionResult, GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { DomainError } from '../../../errors.ts';
import type { RateGate } from '../../auth/rate-gate.ts';
import type { TransportContext } from './use-execution.ts';

function toResult(rejection: DomainError): ExecutionResult {
  return { errors: [new GraphQLError(rejection.message, { originalError: rejection })] };
}

/**
 * Rejects a request over HTTP and SSE with RATE_LIMIT_EXCEEDED before parsing if faulty requests have used up the caller's limit; the
 * preparer of operations does that for the other ways. It must come after the plugin that replaces ids of documents by their texts.
 */
export function useRateLimit(gate: RateGate): Plugin<TransportContext, TransportContext> {
  return {
    onParams({ params: { query }, context: { origin, authenticationError }, setResult }) {
      const rejection = authenticationError === undefined && typeof query === 'string' ? gate.checkBeforeParsing(origin, query) : null;
      if (rejection !== null) setResult(toResult(rejection));
    },
  };
}

/**
 * Counts faulty requests, which are not executed, over HTTP and SSE, and answers them with RATE_LIMIT_EXCEEDED if there are too many. The
 * WebSocket transport does that itself. It must come before all plugins that process results.
 */
export function useFaultLimit(gate: RateGate): Plugin<TransportContext, TransportContext> {
  return {
    async onResultProcess({ result, setResult, serverContext: { origin, authenticationError } }) {
      if (authenticationError !== undefined || Array.isArray(result) || Symbol.asyncIterator in result) return;
      if (result.errors === undefined || 'data' in result) return;
      const rejection = await gate.takeFault(origin);
      if (rejection !== null) setResult(toResult(rejection));
    },
  };
}
