import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { RateLimiter } from '../../modules/rate-limit/rate-limit.service.ts';
import { rateChargeOf } from '../rate-charge.ts';
import type { TransportContext } from './use-execution.ts';

/** RATE_LIMIT_EXCEEDED with `details.retryAfterMs`, over every transport, before anything of the operation runs; tells the transport how the caller stands. */
export function useRateLimit(limiter: RateLimiter): Plugin<TransportContext> {
  async function check({ document, operationName, contextValue }: ExecutionArgs, stop: (result: ExecutionResult) => void): Promise<void> {
    const operation = getOperationAST(document, operationName);
    if (!operation) return;
    const { origin } = contextValue as TransportContext;
    const { states, refusal } = await limiter.take(origin.access.viewer, rateChargeOf(document, operation));
    origin.onRateLimits?.(states, refusal !== null);
    if (refusal !== null) stop({ errors: [new GraphQLError(refusal.message, { originalError: refusal })] });
  }
  return {
    onExecute: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
    onSubscribe: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
  };
}
