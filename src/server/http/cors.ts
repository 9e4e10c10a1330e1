import type { IncomingMessage } from 'node:http';
import type { YogaServerOptions } from 'graphql-yoga';
import type { OriginCheck } from './origin-check.ts';

/** Headers that pages may read, besides those that browsers always expose. */
const EXPOSED_HEADERS = ['x-request-id', 'retry-after', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'];

const METHODS = ['GET', 'POST'];

const MAX_AGE_SECONDS = 86_400;

/** CORS for Yoga: pages of allowed origins may read responses, without cookies. */
export function createCors(originCheck: OriginCheck): NonNullable<YogaServerOptions<object, object>['cors']> {
  return ({ headers }) => {
    const origin = headers.get('origin');
    const isAllowed = origin !== null && originCheck.allowsOrigin(origin, headers.get('host') ?? undefined);
    return {
      origin: isAllowed ? origin : [],
      methods: METHODS,
      credentials: false,
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: MAX_AGE_SECONDS,
    };
  };
}

/** The headers that Yoga adds by `createCors`, for a response that Yoga does not write. The origin check has let the request pass. */
export function corsHeadersOf({ headers }: IncomingMessage): Record<string, string> {
  const { origin } = headers;
  if (origin === undefined) return {};
  return {
    'access-control-allow-origin': origin,
    'access-control-allow-methods': METHODS.join(', '),
    'access-control-expose-headers': EXPOSED_HEADERS.join(', '),
    'access-control-max-age': String(MAX_AGE_SECONDS),
  };
}
