import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Logger } from '../../log.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';
import type { OpenEventBus } from './event-bus.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** Redis answers within this, or the connection is given up and made anew. */
const ANSWER_TIMEOUT_MS = 2_000;
/** A half-open connection shows only when something is sent over it. */
const HEARTBEAT_MS = 10_000;

/** The same for every connection to one database, whatever host and user it goes by, and another for every other database. */
const IDENTITY = `select c.system_identifier::text as system, d.oid::text as oid, d.datname as name
  from pg_control_system() c, pg_database d where d.datname = current_database()`;

/** What a bus over Redis needs. */
export interface RedisBusOptions {
  /** A redis:// or rediss:// URL. Several deployments may share one Redis. */
  readonly redisUrl: string;
  /** Of the database whose log it is. */
  readonly databaseUrl: string;
  readonly log: Logger;
}

/**
 * The channel on which the servers of a database wake each other: its own for every database.
 * @throws the error of pg where the database cannot be reached
 */
export async function wakeUpChannel(databaseUrl: string, log: Logger): Promise<string> {
  const link = new ReconnectingConnection({ url: databaseUrl, log, name: 'sessiongraph bus', setup: 'select 1' });
  try {
    const [result] = await link.query(IDENTITY);
    const identity: { system: string; oid: string; name: string } | undefined = result?.rows[0];
    if (identity === undefined) throw new Error('The database does not know itself.');
    const { system, oid, name } = identity;
    return `sessiongraph:events:${createHash('sha256').update(`${system} ${oid} ${name}`).digest('hex').slice(0, 32)}`;
  } finally {
    await link.close();
  }
}

/**
 * Wake-ups by Redis' publish and subscribe, over one connection for each. While Redis is away, at the start too, nothing is kept to
 * be sent later: the poll stands in, the connections are made anew by themselves, and the listener is then told to look.
 */
export function createRedisBus({ redisUrl, databaseUrl, log }: RedisBusOptions): OpenEventBus {
  return async listener => {
    const channel = await wakeUpChannel(databaseUrl, log);
    let closed = false;
    let away = false;
    let highest = 0n;
    let sending = false;

    function isAway(reason: string): void {
      if (!away && !closed) log.warn({ reason }, 'Redis cannot be reached: other servers wait for the poll to see events');
      away = true;
    }

    function connect(name: string): Redis {
      const redis = new Redis(redisUrl, {
        lazyConnect: true,
        // Publishing needs nothing newer, and a connection that listens is then told apart from one that asks.
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
      redis.on('error', (error: Error) => isAway(error.message));
      redis.on('close', () => isAway('the connection was closed'));
      return redis;
    }

    const publisher = connect('sessiongraph publisher');
    const subscriber = connect('sessiongraph subscriber');
    const firstAttempt = new Promise<void>(resolve => {
      subscriber.on('ready', () => void subscribe().then(resolve));
      subscriber.once('close', () => resolve());
    });
    let listens = false;

    function mayBeBack(): void {
      if (!away || !listens || publisher.status !== 'ready') return;
      away = false;
      log.info('Redis is reached again');
    }

    async function subscribe(): Promise<void> {
      try {
        await subscriber.subscribe(channel);
        listens = true;
        mayBeBack();
        listener(null);
      } catch (error) {
        isAway(String(error));
        // Connected but not listening is of no use: from the beginning.
        if (subscriber.status === 'ready') subscriber.disconnect(true);
      }
    }

    publisher.on('ready', mayBeBack);
    subscriber.on('close', () => {
      listens = false;
    });
    subscriber.on('message', (_channel: string, message: string) => listener(/^\d{1,19}$/.test(message) ? BigInt(message) : null));

    async function checkUp(redis: Redis): Promise<void> {
      if (redis.status !== 'ready') return;
      await redis.ping().catch(() => {
        if (redis.status === 'ready') redis.disconnect(true);
      });
    }

    const heartbeat = setInterval(() => {
      void checkUp(publisher);
      void checkUp(subscriber);
    }, HEARTBEAT_MS);
    heartbeat.unref();

    async function send(): Promise<void> {
      sending = true;
      for (let sent = 0n; sent < highest && !closed; ) {
        sent = highest;
        // What cannot be sent now need not be sent at all: the next wake-up, or the poll, says the same.
        await publisher.publish(channel, String(sent)).catch(() => undefined);
      }
      sending = false;
    }

    // Both go on trying by themselves.
    await Promise.all([publisher.connect().catch(() => undefined), subscriber.connect().catch(() => undefined), firstAttempt]);

    return {
      announce(lastSeq) {
        // Those that come while one is on its way are told together.
        if (lastSeq > highest) highest = lastSeq;
        if (!sending) void send();
      },
      async close() {
        closed = true;
        clearInterval(heartbeat);
        publisher.disconnect();
        subscriber.disconnect();
      },
    };
  };
}
