import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Logger } from '../../log.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';
import { Announcer, type OpenEventBus, parseAnnouncement } from './event-bus.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** If Redis does not answer for this long, the bus reconnects. */
const ANSWER_TIMEOUT_MS = 2_000;
/** How often a ping checks the connections: a half-open connection is noticed only when something is sent. */
const HEARTBEAT_MS = 10_000;

/** Identifies the database: the same for each host and user that it is reached by, and different for every other database. */
const IDENTITY = `select c.system_identifier::text as system, d.oid::text as oid, d.datname as name
  from pg_control_system() c, pg_database d where d.datname = current_database()`;

export interface RedisBusOptions {
  /** A redis:// or rediss:// URL. Several deployments may share one Redis. */
  readonly redisUrl: string;
  /** The database with the event log. */
  readonly databaseUrl: string;
  readonly log: Logger;
}

/**
 * The Redis channel on which the servers of one database wake each other. Each database has its own.
 * @throws the error of pg if the database is unreachable
 */
export async function wakeUpChannel(databaseUrl: string, log: Logger): Promise<string> {
  const connection = new ReconnectingConnection({ url: databaseUrl, log, name: 'sessiongraph bus', setup: 'select 1' });
  try {
    const [result] = await connection.query(IDENTITY);
    const identity: { system: string; oid: string; name: string } | undefined = result?.rows[0];
    if (identity === undefined) throw new Error('pg_database has no row for the current database.');
    const { system, oid, name } = identity;
    return `sessiongraph:events:${createHash('sha256').update(`${system} ${oid} ${name}`).digest('hex').slice(0, 32)}`;
  } finally {
    await connection.close();
  }
}

/**
 * A bus that uses publish and subscribe of Redis, with one connection for each. While Redis is unreachable, also at the start, announcements are
 * dropped and the processes rely on their polls. Both connections reconnect by themselves. The bus then calls the listener with null.
 */
export function createRedisBus({ redisUrl, databaseUrl, log }: RedisBusOptions): OpenEventBus {
  return async listener => {
    const channel = await wakeUpChannel(databaseUrl, log);
    let isClosed = false;
    let isUnreachable = false;
    let isSubscribed = false;

    function reportUnreachable(reason: string): void {
      if (!isUnreachable && !isClosed) log.warn({ reason }, 'Redis is unreachable; other servers see new events only when they poll');
      isUnreachable = true;
    }

    function reportReachable(): void {
      if (!isUnreachable || !isSubscribed || publisher.status !== 'ready') return;
      isUnreachable = false;
      log.info('Redis is reachable again');
    }

    function connect(name: string): Redis {
      const redis = new Redis(redisUrl, {
        lazyConnect: true,
        // RESP2 is enough, and it puts the connection that subscribes into a mode of its own.
        protocol: 2,
        connectionName: name,
        enableOfflineQueue: false,
        autoResendUnfulfilledCommands: false,
        autoResubscribe: false,
        maxRetriesPerRequest: 0,
        commandTimeout: ANSWER_TIMEOUT_MS,
        connectTimeout: ANSWER_TIMEOUT_MS,
        retryStrategy: times => Math.min(FIRST_RETRY_MS * 2 ** Math.min(times - 1, 10), LAST_RETRY_MS),
      });
      redis.on('error', (error: Error) => reportUnreachable(error.message));
      redis.on('close', () => reportUnreachable('the connection was closed'));
      return redis;
    }

    const publisher = connect('sessiongraph publisher');
    const subscriber = connect('sessiongraph subscriber');
    const announcer = new Announcer(text => publisher.publish(channel, text));
    const firstAttempt = new Promise<void>(resolve => {
      subscriber.on('ready', () => void subscribe().then(resolve));
      subscriber.once('close', () => resolve());
    });

    async function subscribe(): Promise<void> {
      try {
        await subscriber.subscribe(channel);
        isSubscribed = true;
        reportReachable();
        listener(null);
      } catch (error) {
        reportUnreachable(String(error));
        // A connection without the subscription is useless: reconnect.
        if (subscriber.status === 'ready') subscriber.disconnect(true);
      }
    }

    publisher.on('ready', reportReachable);
    subscriber.on('close', () => {
      isSubscribed = false;
    });
    subscriber.on('message', (_channel: string, message: string) => listener(parseAnnouncement(message)));

    async function ping(redis: Redis): Promise<void> {
      if (redis.status !== 'ready') return;
      await redis.ping().catch(() => {
        if (redis.status === 'ready') redis.disconnect(true);
      });
    }

    const heartbeat = setInterval(() => {
      void ping(publisher);
      void ping(subscriber);
    }, HEARTBEAT_MS);
    heartbeat.unref();

    // If these attempts fail, both connections retry by themselves.
    await Promise.all([publisher.connect().catch(() => undefined), subscriber.connect().catch(() => undefined), firstAttempt]);

    return {
      announce: lastSeq => announcer.announce(lastSeq),
      async close() {
        isClosed = true;
        announcer.close();
        clearInterval(heartbeat);
        publisher.disconnect();
        subscriber.disconnect();
      },
    };
  };
}
