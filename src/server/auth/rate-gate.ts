import type { DocumentNode } from 'graphql';
import type { DomainError } from '../../errors.ts';
import type { RateCharge, RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { DocumentCache } from '../graphql/document-cache.ts';
import type { OperationOrigin } from '../graphql/execution.ts';
import { type RateLimiter, rateLimitExceeded } from './rate-limiter.ts';

/** Counts each operation once, over every transport, and tells the transport where its caller stands. Refusals are RATE_LIMIT_EXCEEDED. */
export interface RateGate {
  /** Counts an operation of a valid document; null where it may go on. */
  take(origin: OperationOrigin, charge: RateCharge): Promise<DomainError | null>;
  /**
   * Counts, as one request, what never came to be an operation: a document that cannot be parsed or is not valid, an operation it does not have.
   * Nothing where the origin has been counted, or refused, already. Null where the fault is to be told, else what is told in its place.
   */
  takeFault(origin: OperationOrigin): Promise<DomainError | null>;
  /**
   * Before a document is parsed: the refusal for a caller whose faults have used up its requests. Documents that have been parsed
   * before go on to be counted in their own class: they cost nothing to take apart, and writes may be left.
   */
  refusalBeforeParsing(origin: OperationOrigin, text: string): DomainError | null;
}

/** Callers that have no requests left and send faults; more at once are not kept. */
const MAX_CALLERS = 10_000;

/** @param documents what has been parsed */
export function createRateGate(limiter: RateLimiter, documents: DocumentCache<DocumentNode>): RateGate {
  const counted = new WeakSet<OperationOrigin>();
  /** By the viewer's id, how those stand whose faults have used up their requests. */
  const spent = new Map<string, RateLimitState>();

  function noteSpent(viewerId: string, state: RateLimitState | undefined): void {
    if (state === undefined || state.remaining > 0) return;
    const oldest = spent.keys().next();
    if (spent.size >= MAX_CALLERS && oldest.done !== true) spent.delete(oldest.value);
    spent.set(viewerId, state);
  }

  return {
    async take(origin, charge) {
      counted.add(origin);
      const { states, refusal } = await limiter.take(origin.access.viewer, charge);
      origin.onRateLimits?.(states, refusal !== null);
      return refusal;
    },
    async takeFault(origin) {
      if (counted.has(origin)) return null;
      counted.add(origin);
      const { viewer } = origin.access;
      const { states, refusal } = await limiter.take(viewer, { requests: 1 });
      origin.onRateLimits?.(states, refusal !== null);
      noteSpent(viewer.id, states[0]);
      return refusal;
    },
    refusalBeforeParsing(origin, text) {
      const { id } = origin.access.viewer;
      const state = spent.get(id);
      if (state === undefined) return null;
      const retryAfterMs = state.resetAt.getTime() - Date.now();
      if (retryAfterMs <= 0) {
        spent.delete(id);
        return null;
      }
      if (documents.get(text) !== undefined) return null;
      counted.add(origin);
      origin.onRateLimits?.([state], true);
      return rateLimitExceeded(state, retryAfterMs);
    },
  };
}
