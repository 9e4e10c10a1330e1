import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { DomainError } from '../../../errors.ts';
import { rateChargeOf } from '../../auth/rate-charge.ts';
import type { RateGate } from '../../auth/rate-gate.ts';
import type { TransportContext } from './use-execution.ts';

function toResult(refusal: DomainError): ExecutionResult {
  return { errors: [new GraphQLError(refusal.message, { originalError: refusal })] };
}

/**
 * RATE_LIMIT_EXCEEDED with `details.retryAfterMs`, over every transport, before anything of the operation runs; tells the transport how the caller stands.
 * Over HTTP and SSE also before a document is parsed, where faults have used up the caller's requests; a WebSocket asks for that itself. To
 * come after what puts documents in the place of their ids.
 */
export function useRateLimit(gate: RateGate): Plugin<TransportContext, TransportContext> {
  async function check({ document, operationName, contextValue }: ExecutionArgs, stop: (result: ExecutionResult) => void): Promise<void> {
    const operation = getOperationAST(document, operationName);
    if (!operation) return;
    const { origin } = contextValue as TransportContext;
    const refusal = await gate.take(origin, rateChargeOf(document, operation));
    if (refusal !== null) stop(toResult(refusal));
  }
  return {
    onParams({ params: { query }, context: { origin, refusal: notLetIn }, setResult }) {
      const refusal = notLetIn === undefined && typeof query === 'string' ? gate.checkBeforeParsing(origin, query) : null;
      if (refusal !== null) setResult(toResult(refusal));
    },
    onExecute: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
    onSubscribe: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
  };
}

/**
 * Counts, over HTTP and SSE, requests that never came to be executed, and answers them with RATE_LIMIT_EXCEEDED once they are too many; a WebSocket
 * does that itself. To be before all that looks at results.
 */
export function useFaultLimit(gate: RateGate): Plugin<TransportContext, TransportContext> {
  return {
    async onResultProcess({ result, setResult, serverContext: { origin, refusal: notLetIn } }) {
      if (notLetIn !== undefined || Array.isArray(result) || Symbol.asyncIterator in result) return;
      if (result.errors === undefined || 'data' in result) return;
      const refusal = await gate.takeFault(origin);
      if (refusal !== null) setResult(toResult(refusal));
    },
  };
}
