import type { YogaServerOptions } from 'graphql-yoga';
import type { RequestGuard } from './request-guard.ts';

/** Besides those that a page may read of every answer. */
const EXPOSED_HEADERS = ['x-request-id', 'retry-after', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'];

const MAX_AGE_SECONDS = 86_400;

/** What pages of other origins are told: those that the guard lets in may read answers, without cookies; all others nothing. */
export function createCors(guard: RequestGuard): NonNullable<YogaServerOptions<object, object>['cors']> {
  return ({ headers }) => {
    const origin = headers.get('origin');
    const isAllowed = origin !== null && guard.allowsOrigin(origin, headers.get('host') ?? undefined);
    return {
      origin: isAllowed ? origin : [],
      methods: ['GET', 'POST'],
      credentials: false,
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: MAX_AGE_SECONDS,
    };
  };
}
