import type { ServerResponse } from 'node:http';
import type { RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';

const WINDOW_SECONDS = 60;

/**
 * Sets the RateLimit headers (draft-ietf-httpapi-ratelimit-headers) of the limit with the smallest remaining share, and Retry-After if the
 * operation was rejected. Sets nothing if no limit counted the operation.
 */
export function setRateLimitHeaders(response: ServerResponse, states: readonly RateLimitState[], isRejected: boolean): void {
  const scarcest = states.toSorted((a, b) => a.remaining / a.limit - b.remaining / b.limit)[0];
  if (scarcest === undefined || response.headersSent) return;
  const seconds = String(Math.max(0, Math.ceil((scarcest.resetAt.getTime() - Date.now()) / 1_000)));
  response.setHeader('ratelimit-limit', String(scarcest.limit));
  response.setHeader('ratelimit-remaining', String(scarcest.remaining));
  response.setHeader('ratelimit-reset', seconds);
  response.setHeader('ratelimit-policy', states.map(({ name, limit }) => `${limit};w=${WINDOW_SECONDS};name="${name}"`).join(', '));
  if (isRejected) response.setHeader('retry-after', seconds);
}
