import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { DomainError } from '../../../errors.ts';
import { rateChargeOf } from '../../auth/rate-charge.ts';
import type { RateGate } from '../../auth/rate-gate.ts';
import type { TransportContext } from './use-execution.ts';

function toResult(rejection: DomainError): ExecutionResult {
  return { errors: [new GraphQLError(rejection.message, { originalError: rejection })] };
}

/**
 * Counts operations before they run, over every transport, and rejects them with RATE_LIMIT_EXCEEDED. Over HTTP and SSE it also rejects a
 * request before parsing if faulty requests have used up the caller's limit; the WebSocket transport checks that itself. It must come after
 * the plugin that replaces ids of documents by their texts.
 */
export function useRateLimit(gate: RateGate): Plugin<TransportContext, TransportContext> {
  async function check({ document, operationName, contextValue }: ExecutionArgs, stop: (result: ExecutionResult) => void): Promise<void> {
    const operation = getOperationAST(document, operationName);
    if (!operation) return;
    const { origin } = contextValue as TransportContext;
    const rejection = await gate.take(origin, rateChargeOf(document, operation));
    if (rejection !== null) stop(toResult(rejection));
  }
  return {
    onParams({ params: { query }, context: { origin, authenticationError }, setResult }) {
      const rejection = authenticationError === undefined && typeof query === 'string' ? gate.checkBeforeParsing(origin, query) : null;
      if (rejection !== null) setResult(toResult(rejection));
    },
    onExecute: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
    onSubscribe: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
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
