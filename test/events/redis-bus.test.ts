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
import { type EventWriter, openWriter, readEventTable, takeEvents } from './event-writer.ts';

const ALL: EventRequest = { visibleAgents: null };
/** A poll interval longer than any test, so that only wake-ups deliver events. */
const NEVER_POLL_MS = 600_000;
const REAL_REDIS = { host: '127.0.0.1', port: 6379 };

async function isRedisRunning(): Promise<boolean> {
  const socket = connectSocket(REAL_REDIS);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    process.stdout.write('No Redis answers on port 6379; the test of wake-ups through a real Redis is skipped.\n');
    return false;
  } finally {
    socket.destroy();
  }
}

const hasRedis = await isRedisRunning();

let database: TestDatabase;
let redis: FakeRedis;
let logLines: { readonly level: number; readonly msg: string }[];
let leftovers: (() => Promise<unknown>)[];

beforeEach(async () => {
  database = await createTestDatabase();
  redis = await createFakeRedis();
  logLines = [];
  leftovers = [];
});

afterEach(async () => {
  await Promise.all(leftovers.map(dispose => dispose()));
  await redis.stop();
  await database.close();
});

const logger = () => pino({ level: 'info' }, { write: (line: string) => void logLines.push(JSON.parse(line)) });

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

const logged = (text: string) => logLines.filter(({ msg }) => msg.includes(text));

describe('wake-ups over Redis', () => {
  it('reach other processes without waiting for the poll', async () => {
    await redis.start();
    const [here, there] = [await openLog({ pollMs: NEVER_POLL_MS }), await openLog({ pollMs: NEVER_POLL_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    for (let round = 0; round < 20; round += 1) {
      const id = await writer.write({ sessionId: randomUUID() });
      here.wake();
      expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
    }
    expect(logLines).toEqual([]);
  });

  it('use a channel per database, the same for every URL of that database', async () => {
    const other = await createTestDatabase();
    leftovers.push(() => other.close());
    const otherUrl = new URL(database.url);
    otherUrl.searchParams.set('application_name', 'other');
    const channel = await wakeUpChannel(database.url, logger());
    expect(channel).toMatch(/^sessiongraph:events:[0-9a-f]{32}$/);
    expect(await wakeUpChannel(otherUrl.href, logger())).toBe(channel);
    expect(await wakeUpChannel(other.url, logger())).not.toBe(channel);
  });

  it('may be invalid: the event log looks up its end itself', async () => {
    await redis.start();
    const channel = await wakeUpChannel(database.url, logger());
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS });
    const stream = await eventLog.subscribe(ALL);
    const writer = await connect();
    const id = await writer.write({ sessionId: randomUUID() });
    const publisher = connectSocket(Number(new URL(redis.url).port), '127.0.0.1');
    await once(publisher, 'connect');
    const publish = (message: string) =>
      publisher.write(`*3\r\n$7\r\nPUBLISH\r\n$${channel.length}\r\n${channel}\r\n$${message.length}\r\n${message}\r\n`);
    publish('999999');
    publish('nonsense');
    expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
    publisher.destroy();
  });

  it('made while one is being published are sent as one', async () => {
    await redis.start();
    const announced: (bigint | null)[] = [];
    const options = { redisUrl: redis.url, databaseUrl: database.url, log: logger() };
    const bus = await createRedisBus(options)(() => undefined);
    const listener = await createRedisBus(options)(lastSeq => void announced.push(lastSeq));
    leftovers.push(
      () => bus.close(),
      () => listener.close(),
    );
    for (let seq = 1n; seq <= 5_000n; seq += 1n) bus.announce(seq);
    await vi.waitUntil(() => announced.includes(5_000n), WAIT_OPTIONS);
    expect(redis.publishedCount).toBe(2);
    expect(announced).toEqual([null, 1n, 5_000n]);
  });
});

describe('an unreachable Redis', () => {
  it('does not prevent the start: the poll delivers events until Redis is reachable, then Redis is used', async () => {
    const [here, there] = [await openLog(), await openLog()];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    const early = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(early);
    expect(logged('Redis is unreachable')).toHaveLength(2);
    await redis.start();
    await vi.waitUntil(() => redis.subscriberCount === 2 && logged('Redis is reachable again').length === 2, WAIT_OPTIONS);
    const published = redis.publishedCount;
    const late = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(late);
    await vi.waitUntil(() => redis.publishedCount > published, WAIT_OPTIONS);
  });

  it('loses no events when it stops and starts: after each reconnect the event log reads what it missed', async () => {
    await redis.start();
    const [here, there] = [await openLog({ pollMs: NEVER_POLL_MS }), await openLog({ pollMs: NEVER_POLL_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    for (let round = 1; round <= 3; round += 1) {
      await redis.stop();
      await vi.waitUntil(() => logged('Redis is unreachable').length === 2 * round, WAIT_OPTIONS);
      const missed = await writer.write({ sessionId: randomUUID() });
      await here.sync();
      await redis.start();
      expect((await takeEvents(stream, 1))[0]?.id).toBe(missed);
      await vi.waitUntil(() => logged('Redis is reachable again').length === 2 * round, WAIT_OPTIONS);
      const id = await writer.write({ sessionId: randomUUID() });
      here.wake();
      expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
    }
  });

  it('does not get the announcements made while it was stopped', async () => {
    await redis.start();
    const log = logger();
    const bus = await createRedisBus({ redisUrl: redis.url, databaseUrl: database.url, log })(() => undefined);
    leftovers.push(() => bus.close());
    await redis.stop();
    await vi.waitUntil(() => logged('Redis is unreachable').length === 1, WAIT_OPTIONS);
    for (let seq = 1n; seq <= 5_000n; seq += 1n) bus.announce(seq);
    await redis.start();
    await vi.waitUntil(() => logged('Redis is reachable again').length === 1, WAIT_OPTIONS);
    bus.announce(5_001n);
    await vi.waitUntil(() => redis.publishedCount > 0, WAIT_OPTIONS);
    expect(redis.publishedCount).toBe(1);
  });

  it('that fails repeatedly under load leaves every stream complete and in order', async () => {
    await redis.start();
    const logs = [await openLog({ bufferSize: 8 }), await openLog({ bufferSize: 8 })];
    const streams = await Promise.all(logs.map(eventLog => eventLog.subscribe(ALL)));
    const writer = await connect();
    const rounds = 30;
    const received = streams.map(stream => takeEvents(stream, rounds * 10));
    for (let round = 0; round < rounds; round += 1) {
      await writer.writeMany(Array.from({ length: 10 }, () => randomUUID()));
      logs[round % 2]?.wake();
      if (round % 5 === 4) redis.dropConnections();
      if (round === 12) await redis.stop();
      if (round === 18) await redis.start();
    }
    const table = await waitForSequencedIds(writer, rounds * 10);
    for (const events of received) expect((await events).map(({ id }) => id)).toEqual(table);
    await vi.waitUntil(() => redis.subscriberCount === 2, WAIT_OPTIONS);
  });
});

/** Waits until `length` events are sequenced and returns their ids in log order. */
async function waitForSequencedIds(writer: EventWriter, length: number): Promise<bigint[]> {
  return vi.waitFor(async () => {
    const table = await readEventTable(writer.client);
    expect(table).toHaveLength(length);
    return table.map(({ id }) => id);
  }, WAIT_OPTIONS);
}

describe('servers with REDIS_URL', () => {
  const CREATE = 'mutation { createSession(input: { title: "a" }) { session { sessionId } } }';
  const SUBSCRIPTION = 'subscription { sessionEvents { sessionId } }';

  async function expectEventAcrossServers(redisUrl: string): Promise<void> {
    const env = { REDIS_URL: redisUrl };
    const app = await startTestApp({ env, databaseUrl: database.url });
    leftovers.push(() => app.close());
    const other = await app.startSecondServer({ env });
    const stream = await other.subscribe<{ sessionEvents: { sessionId: string } }>(SUBSCRIPTION);
    const created = (await app.gql<{ createSession: { session: { sessionId: string } } }>(CREATE)).expectOk();
    expect((await stream.next()).sessionEvents.sessionId).toBe(created.createSession.session.sessionId);
    const listeningConnections =
      "select 1 from pg_stat_activity where datname = current_database() and application_name = 'sessiongraph bus'";
    expect(await runSql(database.url, listeningConnections)).toEqual([]);
    await app.close();
  }

  it('wake each other through Redis and do not LISTEN in Postgres', async () => {
    await redis.start();
    await expectEventAcrossServers(redis.url);
    expect(redis.publishedCount).toBeGreaterThan(0);
  });

  it.runIf(hasRedis)('wake each other through a real Redis', () =>
    expectEventAcrossServers(`redis://${REAL_REDIS.host}:${REAL_REDIS.port}`),
  );
});
