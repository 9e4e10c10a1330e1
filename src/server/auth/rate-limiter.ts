import { Redis } from 'ioredis';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import {
  RATE_CLASSES,
  type RateCharge,
  type RateClass,
  type RateLimitState,
  type RateLimits,
} from '../../modules/rate-limit/rate-limit.rules.ts';
import { LOCAL_VIEWER, type Viewer } from '../../modules/viewer/viewer.rules.ts';

const WINDOW_SECONDS = 60;

/** How a caller stands after an operation was counted. */
export interface RateVerdict {
  /** Of the classes it was counted in. */
  readonly states: readonly RateLimitState[];
  /** RATE_LIMIT_EXCEEDED; null where the operation may go on. */
  readonly refusal: DomainError | null;
}

/** Counts what each caller does, over a minute from the first. */
export interface RateLimiter {
  /** Counts an operation, all of it or nothing. Where authentication is off nothing is counted. */
  take(viewer: Viewer, charge: RateCharge): Promise<RateVerdict>;
  /** How the caller stands in each class that is limited, without counting. */
  states(viewer: Viewer): Promise<readonly RateLimitState[]>;
  /** Whether all servers count together just now. */
  isShared(): boolean;
  close(): Promise<void>;
}

/** What the counting needs. */
export interface RateLimiterOptions {
  readonly limits: RateLimits;
  /** Where all servers count together; null counts in this process. */
  readonly redisUrl: string | null;
  /** Redis answers within so many milliseconds, or each server counts on its own until it does. */
  readonly redisTimeoutMs?: number;
  readonly log: Logger;
}

function connect(url: string, timeoutMs: number, log: Logger): Redis {
  // What cannot be sent now is not to be sent later: the caller waits.
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
  });
  let isAway = false;
  redis.on('error', (error: Error) => {
    if (!isAway) log.warn({ error: error.message }, 'Redis cannot be reached: rate limits are counted by each server on its own');
    isAway = true;
  });
  redis.on('ready', () => {
    isAway = false;
  });
  return redis;
}

function toState(name: RateClass, limit: number, result: RateLimiterRes | null): RateLimitState {
  const remaining = result === null ? limit : Math.max(0, limit - result.consumedPoints);
  return { name, limit, remaining, resetAt: new Date(Date.now() + (result?.msBeforeNext ?? WINDOW_SECONDS * 1_000)) };
}

/** RATE_LIMIT_EXCEEDED. */
export function rateLimitExceeded({ name, limit }: RateLimitState, retryAfterMs: number): DomainError {
  return new DomainError('RATE_LIMIT_EXCEEDED', `At most ${limit} ${name} a minute; try again in ${Math.ceil(retryAfterMs / 1_000)} s.`, {
    limit: name,
    perMinute: limit,
    retryAfterMs,
  });
}

/** Makes one; a Redis that is away does not keep it from counting. */
export function createRateLimiter({ limits, redisUrl, redisTimeoutMs = 500, log }: RateLimiterOptions): RateLimiter {
  const redis = redisUrl === null ? null : connect(redisUrl, redisTimeoutMs, log);

  function createCounter(name: RateClass, limit: number): RateLimiterAbstract {
    const options = { keyPrefix: `sessiongraph:rate:${name}`, points: limit, duration: WINDOW_SECONDS };
    const alone = new RateLimiterMemory(options);
    return redis === null ? alone : new RateLimiterRedis({ ...options, storeClient: redis, insuranceLimiter: alone });
  }

  /** By class and limit: keys with limits of their own are few, and share those that are equal. */
  const counters = new Map<string, RateLimiterAbstract>();

  function* countersOf(viewer: Viewer): Generator<{ name: RateClass; limit: number; counter: RateLimiterAbstract }> {
    if (viewer.id === LOCAL_VIEWER.id) return;
    for (const name of RATE_CLASSES) {
      const limit = viewer.rateLimits?.[name] ?? limits[name];
      if (limit === 0) continue;
      const counter = counters.get(`${name} ${limit}`) ?? createCounter(name, limit);
      counters.set(`${name} ${limit}`, counter);
      yield { name, limit, counter };
    }
  }

  async function count(counter: RateLimiterAbstract, key: string, points: number): Promise<{ result: RateLimiterRes; isOver: boolean }> {
    try {
      return { result: await counter.consume(key, points), isOver: false };
    } catch (refused) {
      if (refused instanceof RateLimiterRes) return { result: refused, isOver: true };
      throw refused;
    }
  }

  return {
    async take(viewer, charge) {
      const states: RateLimitState[] = [];
      const counted: (() => Promise<unknown>)[] = [];
      for (const { name, limit, counter } of countersOf(viewer)) {
        const points = charge[name] ?? 0;
        if (points === 0) continue;
        const { result, isOver } = await count(counter, viewer.id, points);
        const state = toState(name, limit, result);
        states.push(state);
        counted.push(() => counter.reward(viewer.id, points));
        if (!isOver) continue;
        // What is refused is not done, so it does not count, in no class.
        await Promise.all(counted.map(takeBack => takeBack()));
        return { states, refusal: rateLimitExceeded(state, result.msBeforeNext) };
      }
      return { states, refusal: null };
    },
    async states(viewer) {
      const read = [...countersOf(viewer)].map(async ({ name, limit, counter }) => toState(name, limit, await counter.get(viewer.id)));
      return Promise.all(read);
    },
    isShared: () => redis?.status === 'ready',
    async close() {
      redis?.disconnect();
    },
  };
}
