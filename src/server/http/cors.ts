import type { YogaServerOptions } from 'graphql-yoga';
import type { OriginCheck } from './origin-check.ts';

/** Headers that pages may read, besides those that browsers always expose. */
const EXPOSED_HEADERS = ['x-request-id', 'retry-after', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'];

const MAX_AGE_SECONDS = 86_400;

/** CORS for Yoga: pages of allowed origins may read responses, without cookies. */
export function createCors(originCheck: OriginCheck): NonNullable<YogaServerOptions<object, object>['cors']> {
  return ({ headers }) => {
    const origin = headers.get('origin');
    const isAllowed = origin !== null && originCheck.allowsOrigin(origin, headers.get('host') ?? undefined);
    return {
      origin: isAllowed ? origin : [],
      methods: ['GET', 'POST'],
      credentials: false,
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: MAX_AGE_SECONDS,
    };
  };
}
