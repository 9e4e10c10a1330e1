import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OpenEventBus } from '../../src/events/bus/event-bus.ts';
import { createEventLog, type EventLog, type EventLogOptions, type EventRequest } from '../../src/events/event-log.ts';
import { createEventTable, EventLogExpiredError } from '../../src/events/event-table.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { type EventWriter, openWriter, readEventTable, takeEvents } from './event-writer.ts';

const log = createLog('silent');
/** A bus that delivers no wake-ups. */
const SILENT_BUS: OpenEventBus = async () => ({ announce: () => undefined, close: async () => undefined });
const ALL: EventRequest = { visibleAgents: null };
/** A poll interval longer than any test, so that only wake-ups deliver events. */
const NEVER_POLL_MS = 600_000;
/** How long a stream that reads the table waits for a connection: CONNECT_TIMEOUT_MS of src/events/event-table.ts. */
const CONNECT_TIMEOUT_MS = 5_000;

let database: TestDatabase;
let leftovers: (() => Promise<unknown>)[];

beforeEach(async () => {
  database = await createTestDatabase();
  leftovers = [];
});

afterEach(async () => {
  await Promise.all(leftovers.map(dispose => dispose()));
  await database.close();
});

async function openLog(options: Partial<EventLogOptions> = {}): Promise<EventLog> {
  const eventLog = await createEventLog({ url: database.url, log, ...options });
  leftovers.push(() => eventLog.close());
  return eventLog;
}

async function connect(): Promise<EventWriter> {
  const writer = await openWriter(database.url);
  writer.client.on('error', () => undefined);
  leftovers.push(() => writer.client.end());
  return writer;
}

describe('sequencing', () => {
  it('gives all readers the same order without gaps, while many writers commit and one transaction stays open', async () => {
    const logs = await Promise.all([openLog(), openLog()]);
    const streams = await Promise.all([...logs, ...logs].map(eventLog => eventLog.subscribe(ALL)));
    const writers = await Promise.all(Array.from({ length: 6 }, connect));
    const late = await connect();
    const lateSessionId = randomUUID();
    await late.client.query('begin');
    const lateId = await late.write({ sessionId: lateSessionId });

    const perWriter = 60;
    const written = writers.map(async (writer, number) => {
      const eventLog = logs[number % logs.length];
      const sessionId = randomUUID();
      for (let done = 0; done < perWriter; done += 3) {
        await writer.client.query('begin');
        await writer.writeMany([sessionId, sessionId]);
        await writer.write({ sessionId });
        await writer.client.query(done % 4 === 0 ? 'select pg_sleep(0.005); commit' : 'commit');
        eventLog?.wake();
      }
    });
    const early = writers.length * perWriter;
    const received = await Promise.all(streams.map(stream => takeEvents(stream, early)));
    await Promise.all(written);
    expect(received[0]?.some(event => event.sessionId === lateSessionId)).toBe(false);

    await late.client.query('commit');
    const last = await Promise.all(streams.map(async stream => (await takeEvents(stream, 1))[0]));
    expect(last.map(event => event?.id)).toEqual(streams.map(() => lateId));

    const table = await readEventTable(late.client);
    expect(table.map(event => event.seq)).toEqual(Array.from({ length: early + 1 }, (_, index) => BigInt(index + 1)));
    expect(table.at(-1)?.id).toBe(lateId);
    for (const [index, events] of received.entries()) {
      expect([...events.map(event => event.id), last[index]?.id]).toEqual(table.map(event => event.id));
    }
    const newest = new Map<string, bigint>();
    for (const { sessionId, id } of table) {
      expect(id).toBeGreaterThan(newest.get(sessionId) ?? 0n);
      newest.set(sessionId, id);
    }
  });

  it('sync returns the end of the log, which includes every event committed before the call', async () => {
    const [first, second] = await Promise.all([openLog(), openLog()]);
    const writer = await connect();
    expect(await first.sync()).toBe(0n);
    for (let number = 1n; number <= 20n; number += 1n) {
      await writer.write({ sessionId: randomUUID() });
      expect(await (number % 2n === 0n ? first : second).sync()).toBe(number);
    }
  });

  it('numbers more events than fit into one batch of the sequencer', async () => {
    const eventLog = await openLog();
    const writer = await connect();
    await writer.writeMany(Array.from({ length: 12_345 }, () => randomUUID()));
    expect(await eventLog.sync()).toBe(12_345n);
  });
});

describe('wake-ups', () => {
  it('reach other processes without waiting for the poll', async () => {
    const [here, there] = [await openLog({ pollMs: NEVER_POLL_MS }), await openLog({ pollMs: NEVER_POLL_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    const id = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
  });

  it('may be lost: the poll delivers the event', async () => {
    const [here, there] = [await openLog({ openBus: SILENT_BUS }), await openLog({ openBus: SILENT_BUS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    const id = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
    const notAnnounced = await writer.write({ sessionId: randomUUID() });
    expect((await takeEvents(stream, 1))[0]?.id).toBe(notAnnounced);
  });

  it('may be wrong: the log does not wait for a position that does not exist', async () => {
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS });
    const stream = await eventLog.subscribe(ALL);
    const writer = await connect();
    await writer.client.query("select pg_notify('sessiongraph_events', '999999'), pg_notify('sessiongraph_events', 'nonsense')");
    const id = await writer.write({ sessionId: randomUUID() });
    eventLog.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
  });
});

describe('broken database connections', () => {
  const backends = "from pg_stat_activity where datname = current_database() and application_name like 'sessiongraph%'";

  it('do not end streams or lose events', async () => {
    const eventLog = await openLog({ bufferSize: 4 });
    const writer = await connect();
    const fast = await eventLog.subscribe(ALL);
    const slow = await eventLog.subscribe(ALL);
    const ids: bigint[] = [];
    for (let round = 0; round < 5; round += 1) {
      ids.push(...(await writer.writeMany(Array.from({ length: 20 }, () => randomUUID()))));
      await writer.client.query(`select pg_terminate_backend(pid) ${backends}`);
      ids.push(await writer.write({ sessionId: randomUUID() }));
      eventLog.wake();
      expect((await takeEvents(fast, 21)).map(event => event.id)).toEqual(ids.slice(-21));
    }
    expect((await takeEvents(slow, ids.length)).map(event => event.id)).toEqual(ids);
    await vi.waitFor(async () => {
      const { rows } = await writer.client.query(`select 1 ${backends} and application_name = 'sessiongraph bus'`);
      expect(rows).toHaveLength(1);
    }, WAIT_OPTIONS);
  });

  it('are replaced, and wake-ups arrive again without the poll', async () => {
    const [here, there] = [await openLog({ pollMs: NEVER_POLL_MS }), await openLog({ pollMs: NEVER_POLL_MS })];
    const stream = await there.subscribe(ALL);
    const writer = await connect();
    const bus = `${backends} and application_name = 'sessiongraph bus'`;
    const { rows: before } = await writer.client.query<{ pid: number }>(`select pid, pg_terminate_backend(pid) ${bus}`);
    await vi.waitFor(async () => {
      const { rows } = await writer.client.query<{ pid: number }>(`select pid ${bus} and state = 'idle' and query = 'select 1'`);
      expect(rows.filter(row => !before.some(old => old.pid === row.pid))).toHaveLength(2);
    }, WAIT_OPTIONS);
    const id = await writer.write({ sessionId: randomUUID() });
    here.wake();
    expect((await takeEvents(stream, 1))[0]?.id).toBe(id);
  });

  it('make subscribe and sync fail with SERVICE_UNAVAILABLE while the database is gone', async () => {
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS });
    await database.close();
    await expect(eventLog.subscribe(ALL)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(eventLog.sync()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  });
});

describe('a slow consumer', () => {
  it('buffers no more than the configured size and still receives every event', async () => {
    const eventLog = await openLog({ bufferSize: 16 });
    const writer = await connect();
    const [sessionId, other] = [randomUUID(), randomUUID()];
    const slow = await eventLog.subscribe({ ...ALL, sessionIds: [sessionId] });
    const started = slow.next();
    const fast = await eventLog.subscribe(ALL);
    const ids: bigint[] = [];
    const total = 6_000;
    let mostBuffered = 0;
    for (let done = 0; done < total; done += 100) {
      const sessionIds = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? sessionId : other));
      ids.push(...(await writer.writeMany(sessionIds)).filter((_, index) => index % 2 === 0));
      eventLog.wake();
      await takeEvents(fast, 100);
      mostBuffered = Math.max(mostBuffered, eventLog.gauges().buffered);
    }
    expect(mostBuffered).toBeLessThanOrEqual(2 * 16);
    await expect.poll(() => eventLog.gauges()).toEqual({ subscriptions: 2, behind: expect.any(Number), buffered: 0, lag: 0 });

    const first = await started;
    const rest = await takeEvents(slow, total / 2 - 1);
    expect([first.value, ...rest].map(event => event.id)).toEqual(ids);

    await fast.return?.();
    const waiting = slow.next();
    const live = await writer.write({ sessionId });
    eventLog.wake();
    expect((await waiting).value).toMatchObject({ id: live });
    expect(eventLog.gauges()).toMatchObject({ subscriptions: 1, behind: 0 });
  });

  it('fails with EventLogExpiredError when its next event has been dropped', async () => {
    const eventLog = await openLog({ bufferSize: 2 });
    const writer = await connect();
    const slow = await eventLog.subscribe(ALL);
    for (let batch = 0; batch < 10; batch += 1) await writer.writeMany(Array.from({ length: 1_000 }, () => randomUUID()));
    const other = await eventLog.subscribe({ ...ALL, after: 0n });
    await takeEvents(other, 10_000);
    await writer.client.query('update aria_engine.event_log_state set expired_seq = 10');
    await expect(slow.next()).rejects.toThrow(EventLogExpiredError);
    expect(await slow.next()).toEqual({ done: true, value: undefined });
    expect(eventLog.gauges().subscriptions).toBe(1);
  });
});

describe('a consumer that is behind while reads of the table fail', () => {
  it('gets SERVICE_UNAVAILABLE in the end and can resume after its last event', async () => {
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS, bufferSize: 2 });
    const writer = await connect();
    await writer.writeMany(Array.from({ length: 6 }, () => randomUUID()));
    const stream = await eventLog.subscribe({ ...ALL, after: 0n });
    const [, second] = await takeEvents(stream, 2);
    await writer.client.query('alter table aria_engine.event_log_state rename expired_seq to renamed');
    await expect(stream.next()).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    await writer.client.query('alter table aria_engine.event_log_state rename renamed to expired_seq');
    const resumed = await eventLog.subscribe({ ...ALL, after: second?.seq ?? -1n });
    expect((await takeEvents(resumed, 4)).map(({ seq }) => seq)).toEqual([3n, 4n, 5n, 6n]);
  });
});

describe('many consumers that are behind', () => {
  it('queue for their reads, so none fails with a connection timeout', async () => {
    const warn = vi.fn();
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS, log: Object.assign(createLog('silent'), { warn }) });
    const [writer, locker] = await Promise.all([connect(), connect()]);
    await writer.writeMany(Array.from({ length: 3 }, () => randomUUID()));
    const streams = await Promise.all(Array.from({ length: 10 }, () => eventLog.subscribe({ ...ALL, after: 0n })));
    await locker.client.query('begin; lock table aria_engine.session_events in access exclusive mode');
    const reading = streams.map(stream => takeEvents(stream, 3));
    // Queued reads must outlast the pool's timeout. Nothing signals that they did, so the test has to sleep.
    await setTimeout(CONNECT_TIMEOUT_MS + 500);
    await locker.client.query('commit');
    for (const events of await Promise.all(reading)) expect(events.map(({ seq }) => seq)).toEqual([1n, 2n, 3n]);
    expect(warn).not.toHaveBeenCalled();
  });
});

describe('a consumer that reads the table', () => {
  it('buffers only one page of events', async () => {
    const eventLog = await openLog({ pollMs: NEVER_POLL_MS });
    const writer = await connect();
    await writer.writeMany(Array.from({ length: 1_000 }, () => randomUUID()));
    const stream = await eventLog.subscribe({ ...ALL, after: 0n });
    await takeEvents(stream, 1);
    expect(eventLog.gauges().buffered).toBe(63);
    expect((await takeEvents(stream, 999)).at(-1)?.seq).toBe(1_000n);
  });

  it('does not query the table after it has ended', async () => {
    const table = createEventTable({ url: database.url, log });
    leftovers.push(() => table.close());
    let isOpen = true;
    const { read, readLinks, withDescendants } = table.readingFor({ isOpen: () => isOpen });
    const range = { after: 0n, through: 10n, limit: 10 };
    const noFilter = { sessionIds: null, agentIds: null, types: null };
    const readAll = () => Promise.allSettled([read(range, noFilter), readLinks(range), withDescendants([randomUUID()], 0n)]);
    expect((await readAll()).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    isOpen = false;
    for (const outcome of await readAll()) expect(outcome).toMatchObject({ reason: { message: 'The stream has ended.' } });
  });
});

describe('resuming', () => {
  it('gives past events and then live ones, without gaps or duplicates', async () => {
    const eventLog = await openLog();
    const writer = await connect();
    const total = 10_000;
    const write = async () => {
      for (let done = 0; done < total; done += 50) {
        await writer.writeMany(Array.from({ length: 50 }, () => randomUUID()));
        eventLog.wake();
      }
    };
    const live = await eventLog.subscribe(ALL);
    const writing = write();
    const reading = takeEvents(live, total);
    const resumed: bigint[] = [];
    let after = 0n;
    while (after < BigInt(total)) {
      const stream = await eventLog.subscribe({ ...ALL, after });
      const events = await takeEvents(stream, Math.min(777, total - Number(after)));
      await stream.return?.();
      resumed.push(...events.map(event => event.seq));
      after = events.at(-1)?.seq ?? after;
    }
    await writing;
    expect(resumed).toEqual((await reading).map(event => event.seq));
    expect(eventLog.gauges().subscriptions).toBe(1);
  });

  it('finds the few matching events between thousands of events of other sessions, with and without descendants', async () => {
    const writer = await connect();
    const [root, child, grandchild] = [randomUUID(), randomUUID(), randomUUID()];
    const others = Array.from({ length: 5_000 }, () => randomUUID());
    await writer.createSession(root);
    const ids: bigint[] = [];
    const ofRoot: bigint[] = [];
    for (const [sessionId, parentId] of [[child, root], [grandchild, child], [root]]) {
      await writer.writeMany(others);
      await writer.writeMany(others);
      if (sessionId === undefined) continue;
      if (parentId !== undefined) {
        await writer.createSession(sessionId, parentId);
        ids.push(await writer.write({ sessionId, type: 'CREATED', payload: { parentId } }));
      }
      ofRoot.push(await writer.write({ sessionId: root }));
      ids.push(ofRoot.at(-1) ?? 0n, await writer.write({ sessionId }));
      if (sessionId === root) ofRoot.push(ids.at(-1) ?? 0n);
    }
    const eventLog = await openLog();
    for (const [includeDescendants, expected] of [
      [true, ids],
      [false, ofRoot],
    ] as const) {
      const stream = await eventLog.subscribe({ ...ALL, sessionIds: [root], includeDescendants, after: 0n });
      expect((await takeEvents(stream, expected.length)).map(({ id }) => id)).toEqual(expected);
      const live = stream.next();
      await vi.waitUntil(() => eventLog.gauges().behind === 0, WAIT_OPTIONS);
      const last = await writer.write({ sessionId: root });
      eventLog.wake();
      expect((await live).value?.id).toBe(last);
      if (includeDescendants) ofRoot.push(last);
      await stream.return?.();
    }
  });

  it('is refused after the end of the log and before its oldest event', async () => {
    const eventLog = await openLog();
    const writer = await connect();
    await writer.writeMany(Array.from({ length: 10 }, () => randomUUID()));
    await eventLog.sync();
    await writer.client.query('update aria_engine.event_log_state set expired_seq = 5');
    await expect(eventLog.subscribe({ ...ALL, after: 4n })).rejects.toThrow(EventLogExpiredError);
    await expect(eventLog.subscribe({ ...ALL, after: 11n })).rejects.toMatchObject({ code: 'BAD_CURSOR' });
    const stream = await eventLog.subscribe({ ...ALL, after: 5n });
    expect((await takeEvents(stream, 5)).map(event => event.seq)).toEqual([6n, 7n, 8n, 9n, 10n]);
  });
});

describe('filters', () => {
  it('are combined with AND, for live events and for events read from the table', async () => {
    const eventLog = await openLog();
    const writer = await connect();
    const [one, two] = [randomUUID(), randomUUID()];
    const requests: [EventRequest, number[]][] = [
      [{ visibleAgents: null }, [0, 1, 2, 3, 4, 5]],
      [{ visibleAgents: ['a'] }, [0, 2, 4]],
      [{ visibleAgents: [] }, []],
      [{ visibleAgents: null, sessionIds: [one] }, [0, 1, 4, 5]],
      [{ visibleAgents: null, sessionIds: [one, two], agentIds: ['b'] }, [1, 3, 5]],
      [{ visibleAgents: null, sessionIds: [], agentIds: null }, []],
      [{ visibleAgents: null, agentIds: ['a', 'b'], types: ['MESSAGE_DELETED'] }, [4, 5]],
      [{ visibleAgents: ['a', 'c'], agentIds: ['a', 'b'] }, [0, 2, 4]],
      [{ visibleAgents: null, sessionIds: [one], types: [] }, []],
      [{ visibleAgents: null, sessionIds: [two], types: ['MESSAGE_ADDED'], includeDescendants: true }, [2, 3]],
    ];
    const live = await Promise.all(requests.map(([request]) => eventLog.subscribe(request)));
    const events = [
      { sessionId: one, agentId: 'a' },
      { sessionId: one, agentId: 'b' },
      { sessionId: two, agentId: 'a' },
      { sessionId: two, agentId: 'b' },
      { sessionId: one, agentId: 'a', type: 'MESSAGE_DELETED' as const },
      { sessionId: one, agentId: 'b', type: 'MESSAGE_DELETED' as const },
    ];
    const firstTaken = live.map(stream => stream.next());
    const ids: bigint[] = [];
    for (const event of events) ids.push(await writer.write(event));
    const late = await Promise.all(requests.map(([request]) => eventLog.subscribe({ ...request, after: 0n })));
    for (const [index, [, expected]] of requests.entries()) {
      const expectedIds = expected.map(number => ids[number]);
      const fromTable = late[index];
      const stream = live[index];
      if (fromTable === undefined || stream === undefined) throw new Error('unreachable');
      expect((await takeEvents(fromTable, expectedIds.length)).map(event => event.id)).toEqual(expectedIds);
      const ended = fromTable.next();
      await fromTable.return?.();
      expect(await ended).toEqual({ done: true, value: undefined });
      if (expectedIds.length > 0) {
        const first = await firstTaken[index];
        expect([first?.value, ...(await takeEvents(stream, expectedIds.length - 1))].map(event => event.id)).toEqual(expectedIds);
      }
      await stream.return?.();
      if (expectedIds.length === 0) expect(await firstTaken[index]).toEqual({ done: true, value: undefined });
    }
    expect(eventLog.gauges()).toMatchObject({ subscriptions: 0, buffered: 0 });
  });

  it('include existing descendants, descendants created later, and subtrees moved below a followed session', async () => {
    const eventLog = await openLog();
    const slowLog = await openLog({ bufferSize: 1 });
    const writer = await connect();
    const id = {
      root: randomUUID(),
      child: randomUUID(),
      late: randomUUID(),
      grandchild: randomUUID(),
      moved: randomUUID(),
      below: randomUUID(),
    };
    const unrelated = randomUUID();
    await writer.createSession(id.root);
    await writer.createSession(id.child, id.root);
    await writer.createSession(id.moved);
    await writer.createSession(id.below, id.moved);
    await writer.createSession(unrelated);
    const request: EventRequest = { visibleAgents: null, sessionIds: [id.root], includeDescendants: true };
    const stream = await eventLog.subscribe(request);
    const slow = await slowLog.subscribe(request);
    const first = [stream.next(), slow.next()];

    const expected: bigint[] = [];
    expected.push(await writer.write({ sessionId: id.child }));
    await writer.write({ sessionId: unrelated });
    await writer.write({ sessionId: id.moved });
    await writer.write({ sessionId: id.below });
    await writer.createSession(id.late, id.child);
    expected.push(await writer.write({ sessionId: id.late, type: 'CREATED', payload: { parentId: id.child } }));
    await writer.createSession(id.grandchild, id.late);
    expected.push(await writer.write({ sessionId: id.grandchild, agentId: 'other', type: 'CREATED', payload: { parentId: id.late } }));
    expected.push(await writer.write({ sessionId: id.grandchild, agentId: 'other' }));
    await writer.client.query('update aria_engine.chat_sessions set parent_id = $1 where id = $2', [id.late, id.moved]);
    expected.push(await writer.write({ sessionId: id.moved, type: 'UPDATED', payload: { changed: ['parent'], parentId: id.late } }));
    expected.push(await writer.write({ sessionId: id.below }));
    await writer.write({ sessionId: unrelated, type: 'CREATED', payload: { parentId: unrelated } });
    expected.push(await writer.write({ sessionId: id.root }));
    eventLog.wake();

    const [one, two] = await Promise.all(first);
    expect([one?.value, ...(await takeEvents(stream, expected.length - 1))].map(event => event.id)).toEqual(expected);
    expect([two?.value, ...(await takeEvents(slow, expected.length - 1))].map(event => event.id)).toEqual(expected);
    const resumed = await eventLog.subscribe({ ...request, after: 0n });
    expect((await takeEvents(resumed, expected.length)).map(event => event.id)).toEqual(expected);
    const visible = await eventLog.subscribe({ ...request, visibleAgents: ['other'], after: 0n });
    expect((await takeEvents(visible, 2)).map(event => event.id)).toEqual(expected.slice(2, 4));
  });
});

describe('return and close', () => {
  it('return ends a stream immediately, even with reads pending', async () => {
    const eventLog = await openLog();
    const stream = await eventLog.subscribe(ALL);
    const waiting = [stream.next(), stream.next()];
    expect(await stream.return?.()).toEqual({ done: true, value: undefined });
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(eventLog.gauges().subscriptions).toBe(0);
  });

  it('close ends all streams and closes all connections', async () => {
    const eventLog = await openLog();
    const writer = await connect();
    const stream = await eventLog.subscribe(ALL);
    const waiting = stream.next();
    await eventLog.close();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await expect(eventLog.subscribe(ALL)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await vi.waitFor(async () => {
      const { rows } = await writer.client.query(
        "select 1 from pg_stat_activity where datname = current_database() and application_name like 'sessiongraph%'",
      );
      expect(rows).toEqual([]);
    }, WAIT_OPTIONS);
  });
});
