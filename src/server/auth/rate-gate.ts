import type { DocumentNode } from 'graphql';
import { LRUCache } from 'lru-cache';
import type { DomainError } from '../../errors.ts';
import type { RateCharge, RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { DocumentCache } from '../graphql/document-cache.ts';
import type { OperationOrigin } from '../graphql/execution.ts';
import { type RateLimiter, type RateVerdict, rateLimitExceeded } from './rate-limiter.ts';

/** Counts each operation once, over every transport, and reports the caller's rate limit states to the transport. */
export interface RateGate {
  /**
   * Counts an operation of a valid document.
   * @returns RATE_LIMIT_EXCEEDED, or null if the operation may run; not a promise if no limit applies to the caller
   */
  take(origin: OperationOrigin, charge: RateCharge): DomainError | null | Promise<DomainError | null>;
  /**
   * Counts a faulty request: a document that cannot be parsed or is invalid, or an unknown operation name. It counts as one request. Does
   * nothing if the origin has already been counted or rejected.
   * @returns RATE_LIMIT_EXCEEDED, which replaces the errors of the request, or null to answer with those errors
   */
  takeFault(origin: OperationOrigin): Promise<DomainError | null>;
  /**
   * Checks before a document is parsed whether the caller's faulty requests have used up its limit. Documents in the cache pass: they need
   * no parsing, and they are counted in their own class, such as writes, which may have capacity left.
   * @returns RATE_LIMIT_EXCEEDED, or null if the document may be parsed
   */
  checkBeforeParsing(origin: OperationOrigin, text: string): DomainError | null;
}

/** Maximum callers remembered as having used up their limit with faulty requests. */
const MAX_EXHAUSTED_CALLERS = 10_000;

/** @param documents the parsed documents */
export function createRateGate(limiter: RateLimiter, documents: DocumentCache<DocumentNode>): RateGate {
  const counted = new WeakSet<OperationOrigin>();
  /** The states of callers without requests left, by viewer id, until their limit resets. */
  const exhausted = new LRUCache<string, RateLimitState>({ max: MAX_EXHAUSTED_CALLERS });

  return {
    take(origin, charge) {
      counted.add(origin);
      const report = ({ states, rejection }: RateVerdict) => {
        origin.onRateLimits?.(states, rejection !== null);
        return rejection;
      };
      const verdict = limiter.take(origin.access.viewer, charge);
      return verdict instanceof Promise ? verdict.then(report) : report(verdict);
    },
    async takeFault(origin) {
      if (counted.has(origin)) return null;
      counted.add(origin);
      const { viewer } = origin.access;
      const { states, rejection } = await limiter.take(viewer, { requests: 1 });
      origin.onRateLimits?.(states, rejection !== null);
      const [state] = states;
      const resetMs = state === undefined ? 0 : state.resetAt.getTime() - Date.now();
      if (state?.remaining === 0 && resetMs > 0) exhausted.set(viewer.id, state, { ttl: Math.ceil(resetMs) });
      return rejection;
    },
    checkBeforeParsing(origin, text) {
      const state = exhausted.get(origin.access.viewer.id);
      if (state === undefined || documents.get(text) !== undefined) return null;
      counted.add(origin);
      origin.onRateLimits?.([state], true);
      return rateLimitExceeded(state, Math.max(1, state.resetAt.getTime() - Date.now()));
    },
  };
}
