import type { RateLimitState } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { ResponseHeaders } from './response-headers.ts';

const WINDOW_SECONDS = 60;

/**
 * Adds the RateLimit headers (draft-ietf-httpapi-ratelimit-headers) of the limit with the smallest remaining share, and Retry-After if the
 * operation was rejected. Adds nothing if no limit counted the operation.
 */
export function addRateLimitHeaders(headers: ResponseHeaders, states: readonly RateLimitState[], isRejected: boolean): void {
  let [scarcest] = states;
  if (scarcest === undefined) return;
  for (const state of states) if (state.remaining / state.limit < scarcest.remaining / scarcest.limit) scarcest = state;
  const seconds = String(Math.max(0, Math.ceil((scarcest.resetAt.getTime() - Date.now()) / 1_000)));
  headers.add('ratelimit-limit', String(scarcest.limit));
  headers.add('ratelimit-remaining', String(scarcest.remaining));
  headers.add('ratelimit-reset', seconds);
  headers.add('ratelimit-policy', states.map(({ name, limit }) => `${limit};w=${WINDOW_SECONDS};name="${name}"`).join(', '));
  if (isRejected) headers.add('retry-after', seconds);
}
