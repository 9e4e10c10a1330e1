import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createRedisBus, wakeUpChannel } from '../../src/events/bus/redis-bus.ts';
import { createEventLog, type EventLog, type EventLogOptions, type EventRequest } from '../../src/events/event-log.ts';
import { startTestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createFakeRedis, type FakeRedis } from '../support/fake-redis.ts';
import { runSql } from '../support/sql.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { type EventWriter, openWriter, take, wholeLog } from './event-writer.ts';

const ALL: EventRequest = { visibleAgents: null };
const LONG_MS = 600_000;
const REAL_REDIS = { host: '127.0.0.1', port: 6379 };

async function redisAnswers(): Promise<boolean> {
  const socket = connectSocket(REAL_REDIS);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    process.stdout.write('Left out, as no Redis answers on port 6379: wake-ups through a real one.\n');
    return false;
  } finally {
    socket.destroy();
  }
}

const hasRedis = await redisAnswers();

let database: TestDatabase;
let redis: FakeRedis;
let lines: { readonly level: number; readonly msg: string }[];
let leftovers: (() => Promise<unknown>)[];

beforeEach(async () => {
  database = await createTestDatabase();
  redis = await createFakeRedis();
  lines = [];
  leftovers = [];
});

afterEach(async () => {
  await Promise.all(leftovers.map(dispose => dispose()));
  await redis.stop();
  await database.close();
});

const logger = () => pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });

async function openLog(options: Partial<EventLogOptions> & { readonly redisUrl?: string } = {}): Promise<EventLog> {
  const log = logger();
  const openBus = createRedisBus({ redisUrl: options.redisUrl ?? redis.url, databaseUrl: database.url, log });
  const eventLog = await createEventLog({ url: database.url, log, openBus, ...options });
  leftovers.push(() => eventLog.close());
  return eventLog;
}

async function connect(): Promise<EventWriter> {
  const writer = await openWriter(database.url);
  leftovers.push(() => writer.client.end());
  return writer;
}

const said = (text: string) => lines.filter(({ msg }) => msg.includes(text));

describe('wake-ups over Redis', () => {
  it('reach other processes at once', async () => {
    await redis.start();
    const [here, there] = [await openLog({ pollMs: LONG_MS }), await openLog({ pollMs: LONG_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    for (let round = 0; round < 20; round += 1) {
      const id = await writer.write({ sessionId: randomUUID() });
      here.wake();
      expect((await take(stream, 1))[0]?.id).toBe(id);
    }
    expect(lines).toEqual([]);
  });

  it('are heard by no other database on the same Redis, and by this one under whatever address', async () => {
    const other = await createTestDatabase();
    leftovers.push(() => other.close());
    const elsewhere = new URL(database.url);
    elsewhere.searchParams.set('application_name', 'other');
    const channel = await wakeUpChannel(database.url, logger());
    expect(channel).toMatch(/^sessiongraph:events:[0-9a-f]{32}$/);
    expect(await wakeUpChannel(elsewhere.href, logger())).toBe(channel);
    expect(await wakeUpChannel(other.url, logger())).not.toBe(channel);
  });

  it('may be nonsense: the listener looks for itself', async () => {
    await redis.start();
    const channel = await wakeUpChannel(database.url, logger());
    const eventLog = await openLog({ pollMs: LONG_MS });
    const stream = await eventLog.subscribe(ALL);
    const writer = await connect();
    const id = await writer.write({ sessionId: randomUUID() });
    const stranger = connectSocket(Number(new URL(redis.url).port), '127.0.0.1');
    await once(stranger, 'connect');
    const publish = (message: string) =>
      stranger.write(`*3\r\n$7\r\nPUBLISH\r\n$${channel.length}\r\n${channel}\r\n$${message.length}\r\n${message}\r\n`);
    publish('999999');
    publish('nonsense');
    expect((await take(stream, 1))[0]?.id).toBe(id);
    stranger.destroy();
  });
});

describe('a Redis that is away', () => {
  it('at the start keeps nobody from starting: the poll stands in, and it is used as soon as it is there', async () => {
    const [here, there] = [await openLog(), await openLog()];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    const early = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await take(stream, 1))[0]?.id).toBe(early);
    expect(said('Redis cannot be reached')).toHaveLength(2);
    await redis.start();
    await vi.waitUntil(() => redis.subscriberCount === 2 && said('Redis is reached again').length === 2, WAIT_OPTIONS);
    const published = redis.publishedCount;
    const late = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await take(stream, 1))[0]?.id).toBe(late);
    await vi.waitUntil(() => redis.publishedCount > published, WAIT_OPTIONS);
  });

  it('loses nothing when it stops and starts: who hears again looks for what was missed', async () => {
    await redis.start();
    const [here, there] = [await openLog({ pollMs: LONG_MS }), await openLog({ pollMs: LONG_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    for (let round = 1; round <= 3; round += 1) {
      await redis.stop();
      await vi.waitUntil(() => said('Redis cannot be reached').length === 2 * round, WAIT_OPTIONS);
      const missed = await writer.write({ sessionId: randomUUID() });
      await here.sync();
      await redis.start();
      expect((await take(stream, 1))[0]?.id).toBe(missed);
      await vi.waitUntil(() => said('Redis is reached again').length === 2 * round, WAIT_OPTIONS);
      const id = await writer.write({ sessionId: randomUUID() });
      here.wake();
      expect((await take(stream, 1))[0]?.id).toBe(id);
    }
  });

  it('gets nothing that waited for it', async () => {
    await redis.start();
    const log = logger();
    const bus = await createRedisBus({ redisUrl: redis.url, databaseUrl: database.url, log })(() => undefined);
    leftovers.push(() => bus.close());
    await redis.stop();
    await vi.waitUntil(() => said('Redis cannot be reached').length === 1, WAIT_OPTIONS);
    for (let seq = 1n; seq <= 5_000n; seq += 1n) bus.announce(seq);
    await redis.start();
    await vi.waitUntil(() => said('Redis is reached again').length === 1, WAIT_OPTIONS);
    bus.announce(5_001n);
    await vi.waitUntil(() => redis.publishedCount > 0, WAIT_OPTIONS);
    expect(redis.publishedCount).toBe(1);
  });

  it('told many places while one is on its way, hears of them together', async () => {
    await redis.start();
    const heard: (bigint | null)[] = [];
    const options = { redisUrl: redis.url, databaseUrl: database.url, log: logger() };
    const bus = await createRedisBus(options)(() => undefined);
    const listener = await createRedisBus(options)(lastSeq => void heard.push(lastSeq));
    leftovers.push(
      () => bus.close(),
      () => listener.close(),
    );
    for (let seq = 1n; seq <= 5_000n; seq += 1n) bus.announce(seq);
    await vi.waitUntil(() => heard.includes(5_000n), WAIT_OPTIONS);
    expect(redis.publishedCount).toBe(2);
    expect(heard).toEqual([null, 1n, 5_000n]);
  });

  it('and comes back again and again under load: every stream is the log', async () => {
    await redis.start();
    const logs = [await openLog({ bufferSize: 8 }), await openLog({ bufferSize: 8 })];
    const streams = await Promise.all(logs.map(eventLog => eventLog.subscribe(ALL)));
    const writer = await connect();
    const rounds = 30;
    const seen = streams.map(stream => take(stream, rounds * 10));
    for (let round = 0; round < rounds; round += 1) {
      await writer.writeMany(Array.from({ length: 10 }, () => randomUUID()));
      logs[round % 2]?.wake();
      if (round % 5 === 4) redis.dropConnections();
      if (round === 12) await redis.stop();
      if (round === 18) await redis.start();
    }
    const table = await wholeLogOnce(writer, rounds * 10);
    for (const events of seen) expect((await events).map(({ id }) => id)).toEqual(table);
    await vi.waitUntil(() => redis.subscriberCount === 2, WAIT_OPTIONS);
  });
});

/** The ids of the log in its order, once so many are sequenced. */
async function wholeLogOnce(writer: EventWriter, length: number): Promise<bigint[]> {
  return vi.waitFor(async () => {
    const table = await wholeLog(writer.client);
    expect(table).toHaveLength(length);
    return table.map(({ id }) => id);
  }, WAIT_OPTIONS);
}

describe('servers with REDIS_URL', () => {
  const CREATE = 'mutation { createSession(input: { title: "a" }) { session { sessionId } } }';
  const WATCH = 'subscription { sessionEvents { sessionId } }';

  async function watchAcross(redisUrl: string): Promise<void> {
    const env = { REDIS_URL: redisUrl };
    const app = await startTestApp({ env, databaseUrl: database.url });
    leftovers.push(() => app.close());
    const other = await app.startSecondServer({ env });
    const stream = await other.subscribe<{ sessionEvents: { sessionId: string } }>(WATCH);
    const created = (await app.gql<{ createSession: { session: { sessionId: string } } }>(CREATE)).expectOk();
    expect((await stream.next()).sessionEvents.sessionId).toBe(created.createSession.session.sessionId);
    const buses = "select 1 from pg_stat_activity where datname = current_database() and application_name = 'sessiongraph bus'";
    expect(await runSql(database.url, buses)).toEqual([]);
    await app.close();
  }

  it('wake each other through it, and do not listen to Postgres', async () => {
    await redis.start();
    await watchAcross(redis.url);
    expect(redis.publishedCount).toBeGreaterThan(0);
  });

  it.runIf(hasRedis)('do so through a real one', () => watchAcross(`redis://${REAL_REDIS.host}:${REAL_REDIS.port}`));
});
