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

/** The outcome of counting one operation. */
export interface RateVerdict {
  /** The limits of the classes in which it was counted. */
  readonly states: readonly RateLimitState[];
  /** RATE_LIMIT_EXCEEDED, or null if the operation may run. */
  readonly rejection: DomainError | null;
}

const UNLIMITED: RateVerdict = { states: [], rejection: null };

/** Limits the operations of each caller. The first operation starts a window of one minute. */
export interface RateLimiter {
  /**
   * Counts an operation in all its classes, or in none if it is rejected. While authentication is off, nothing is counted.
   * @returns not a promise if no limit applies to the caller
   */
  take(viewer: Viewer, charge: RateCharge): RateVerdict | Promise<RateVerdict>;
  /** The caller's state in each class that has a limit. */
  states(viewer: Viewer): Promise<readonly RateLimitState[]>;
  /** Whether all servers share their counts now, in Redis. */
  isShared(): boolean;
  close(): Promise<void>;
}

/** What a rate limiter needs. */
export interface RateLimiterOptions {
  readonly limits: RateLimits;
  /** The Redis in which all servers share their counts; null to count in this process. */
  readonly redisUrl: string | null;
  /** If Redis takes longer to answer, each server counts on its own until it answers again. */
  readonly redisTimeoutMs?: number;
  readonly log: Logger;
}

function connect(url: string, timeoutMs: number, log: Logger): Redis {
  // Commands fail instead of being queued: an operation is waiting for them.
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
  });
  let isUnavailable = false;
  redis.on('error', (error: Error) => {
    if (!isUnavailable) log.warn({ error: error.message }, 'Redis cannot be reached: each server counts rate limits on its own');
    isUnavailable = true;
  });
  redis.on('ready', () => {
    isUnavailable = false;
  });
  return redis;
}

function toState(name: RateClass, limit: number, result: RateLimiterRes | null): RateLimitState {
  const remaining = result === null ? limit : Math.max(0, limit - result.consumedPoints);
  return { name, limit, remaining, resetAt: new Date(Date.now() + (result?.msBeforeNext ?? WINDOW_SECONDS * 1_000)) };
}

const CLASS_LABELS: Readonly<Record<RateClass, string>> = {
  requests: 'requests',
  writes: 'writes',
  creations: 'creations',
  management: 'management operations',
};

/** RATE_LIMIT_EXCEEDED. */
export function rateLimitExceeded({ name, limit }: RateLimitState, retryAfterMs: number): DomainError {
  const message = `At most ${limit} ${CLASS_LABELS[name]} per minute are allowed. Try again in ${Math.ceil(retryAfterMs / 1_000)} s.`;
  return new DomainError('RATE_LIMIT_EXCEEDED', message, { limit: name, perMinute: limit, retryAfterMs });
}

/** Makes a rate limiter. It also works while Redis is unavailable. */
export function createRateLimiter({ limits, redisUrl, redisTimeoutMs = 500, log }: RateLimiterOptions): RateLimiter {
  const redis = redisUrl === null ? null : connect(redisUrl, redisTimeoutMs, log);

  const locals: RateLimiterMemory[] = [];

  function createCounter(name: RateClass, limit: number): RateLimiterAbstract {
    const options = { keyPrefix: `sessiongraph:rate:${name}`, points: limit, duration: WINDOW_SECONDS };
    const local = new RateLimiterMemory(options);
    locals.push(local);
    return redis === null ? local : new RateLimiterRedis({ ...options, storeClient: redis, insuranceLimiter: local });
  }

  /** By class and limit. Few keys have their own limits, and keys with equal limits share a counter. */
  const counters = new Map<string, RateLimiterAbstract>();

  interface ViewerCounter {
    readonly name: RateClass;
    readonly limit: number;
    readonly counter: RateLimiterAbstract;
  }

  /** A key keeps its viewer as long as its limits stay the same. */
  const countersByViewer = new WeakMap<Viewer, readonly ViewerCounter[]>();

  function countersOf(viewer: Viewer): readonly ViewerCounter[] {
    const known = countersByViewer.get(viewer);
    if (known !== undefined) return known;
    const found: ViewerCounter[] = [];
    for (const name of viewer.id === LOCAL_VIEWER.id ? [] : RATE_CLASSES) {
      const limit = viewer.rateLimits?.[name] ?? limits[name];
      if (limit === 0) continue;
      const counter = counters.get(`${name} ${limit}`) ?? createCounter(name, limit);
      counters.set(`${name} ${limit}`, counter);
      found.push({ name, limit, counter });
    }
    countersByViewer.set(viewer, found);
    return found;
  }

  async function count(
    counter: RateLimiterAbstract,
    key: string,
    points: number,
  ): Promise<{ result: RateLimiterRes; isExceeded: boolean }> {
    try {
      return { result: await counter.consume(key, points), isExceeded: false };
    } catch (error) {
      if (error instanceof RateLimiterRes) return { result: error, isExceeded: true };
      throw error;
    }
  }

  async function takeFrom(applicable: readonly ViewerCounter[], viewer: Viewer, charge: RateCharge): Promise<RateVerdict> {
    const states: RateLimitState[] = [];
    const counted: { readonly counter: RateLimiterAbstract; readonly points: number }[] = [];
    for (const { name, limit, counter } of applicable) {
      const points = charge[name] ?? 0;
      if (points === 0) continue;
      const { result, isExceeded } = await count(counter, viewer.id, points);
      const state = toState(name, limit, result);
      states.push(state);
      counted.push({ counter, points });
      if (!isExceeded) continue;
      // A rejected operation does not run, so it must not count in any class.
      await Promise.all(counted.map(taken => taken.counter.reward(viewer.id, taken.points)));
      return { states, rejection: rateLimitExceeded(state, result.msBeforeNext) };
    }
    return { states, rejection: null };
  }

  return {
    take(viewer, charge) {
      const applicable = countersOf(viewer);
      return applicable.length === 0 ? UNLIMITED : takeFrom(applicable, viewer, charge);
    },
    async states(viewer) {
      const read = countersOf(viewer).map(async ({ name, limit, counter }) => toState(name, limit, await counter.get(viewer.id)));
      return Promise.all(read);
    },
    isShared: () => redis?.status === 'ready',
    async close() {
      redis?.disconnect();
      // Each count has a timer, until its minute is over.
      for (const local of locals) for (const { key } of local.dump().storage) await local.delete(key);
    },
  };
}
