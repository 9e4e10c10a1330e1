import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import { post } from '../../support/http-client.ts';
import { runSql } from '../../support/sql.ts';
import { TEST_WAIT_MS } from '../../support/wait-time.ts';
import type { ChaosServers } from './chaos-servers.ts';
import { ChaosSubscriber, DISCONNECT_KINDS } from './chaos-subscriber.ts';
import { type Acknowledged, ChaosWriter, createAcknowledged, createSession, type WriterSetup } from './chaos-writer.ts';
import { type ComparableEvent, type LoggedEvent, readLog, toComparableEvent } from './comparable-event.ts';
import { type KnownSessions, subscriberKinds } from './subscriber-kind.ts';
import { createTransactionWriter, type TransactionWriter } from './transaction-writer.ts';

/** The size of a run and the failures it contains. */
export interface ChaosPlan {
  /** The seed of all random choices. The timing still differs from run to run. */
  readonly seed: number;
  readonly servers: ChaosServers;
  readonly databaseUrl: string;
  readonly writers: number;
  readonly subscribers: number;
  /** How many connections are broken, one after the other. */
  readonly disconnects: number;
  /** The longest pause between two disconnects. */
  readonly maxPauseMs: number;
  /** How long, at least, one transaction with an event stays open while the others write; null for no such transaction. */
  readonly openTransactionMs: number | null;
  /** Outages of servers, database or Redis. Each starts after the given number of disconnects. */
  readonly outages?: readonly { readonly afterDisconnects: number; run(): Promise<void> }[];
}

/** The numbers of a run. */
export interface ChaosReport {
  readonly events: number;
  readonly deliveries: number;
  readonly connections: number;
  /** The number of disconnects by kind. */
  readonly disconnects: Readonly<Record<string, number>>;
}

const AGENTS = ['chaos-a', 'chaos-b', 'chaos-c'] as const;
const COMMON_SESSIONS = 6;
const TRANSACTION_WRITERS = 2;
const WRITER_PAUSE_MS = 60;
const POLL_MS = 20;
/** The share of subscribers that start later than the others. They too start at the beginning of the log. */
const LATE_SHARE = 0.2;
const STALL_CHANCE = 0.2;
/** How many events subscribers must receive while the transaction is open. */
const EVENTS_WHILE_OPEN = 30;

/** A trigger that delays some commits after the event ids are assigned and before other transactions can see the events. */
const DELAY_COMMITS = `
create function public.delay_commit() returns trigger language plpgsql as
  $$ begin if random() < 0.02 then perform pg_sleep(random() * 0.25); end if; return null; end $$;
create constraint trigger delay_commit after insert on aria_engine.session_events deferrable initially deferred
  for each row execute function public.delay_commit()`;

/** Inserts `$2` events of each type for each session of `$1`, without a wake-up. Only the servers' poll can find them. */
const INSERT_EVENTS = `
insert into aria_engine.session_events (session_id, agent_id, type, payload)
select s.id, s.agent_id, event.type::aria_engine.session_event_type, event.payload::jsonb
from aria_engine.chat_sessions s cross join (values
  ('CREATED', '{}'), ('UPDATED', '{"changed": ["task"]}'),
  ('STATUS_CHANGED', '{"from": "ACTIVE", "to": "WORKING", "reason": null, "usage": {}, "idleMs": 0}'), ('DELETED', '{"permanent": false}'),
  ('RESTORED', '{}'), ('MESSAGE_ADDED', '{"messageId": "00000000-0000-4000-8000-000000000000", "position": 1}'),
  ('MESSAGE_DELETED', '{"messageId": "00000000-0000-4000-8000-000000000000", "position": 1}')
) event(type, payload) cross join generate_series(1, $2) where s.id = any($1)`;

/** Enough events at once to overflow the servers' buffer of a subscriber. */
const BURST = 60;

/**
 * Runs writers (through the servers and directly on the database) and subscribers, and breaks the subscribers' connections. Then it
 * compares three things with the event table: what each subscriber received, the `events` of each session, and the acknowledged writes.
 */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const { databaseUrl, servers, seed } = plan;
  process.stdout.write(`chaos with seed ${seed}\n`);
  const random = createRandomSource(seed, 0);
  const acknowledged = createAcknowledged();
  await runSql(databaseUrl, DELAY_COMMITS);
  const known = await createKnownSessions(servers, acknowledged, random);
  const failures = new Failures();
  const subscribers = createSubscribers(plan, known, failures);
  const transactionWriters = await createTransactionWriters(plan, acknowledged, random);
  try {
    const setup: WriterSetup = { servers, common: known.common, agents: AGENTS, acknowledged };
    const writing = startWriting(plan, setup, transactionWriters, failures);
    const disconnects = await disconnectAtRandom(plan, subscribers, transactionWriters, failures, random);
    await writing.stop();
    failures.throwFirst();
    await waitUntilSequenced(databaseUrl);
    await waitForDelivery(databaseUrl, subscribers, failures);
    const written = await readLog(databaseUrl);
    await runSql(databaseUrl, INSERT_EVENTS, [known.common, BURST]);
    await waitUntilSequenced(databaseUrl);
    await waitForDelivery(databaseUrl, subscribers, failures);
    // Subscribers that resume from the end of the log receive no event again, and the poll finds events without a wake-up.
    for (const subscriber of subscribers) subscriber.disconnect('destroy');
    await runSql(databaseUrl, INSERT_EVENTS, [known.common, 1]);
    await waitUntilSequenced(databaseUrl);
    await waitForDelivery(databaseUrl, subscribers, failures);
    failures.throwFirst();
    const log = await readLog(databaseUrl);
    await assertSubscribersReceivedAll(databaseUrl, subscribers, log);
    assertLogIsComplete(log, written, acknowledged, transactionWriters);
    await assertSessionEventsMatchLog(servers, databaseUrl, log, random);
    const report = {
      events: log.length,
      deliveries: subscribers.reduce((sum, { received }) => sum + received.length, 0),
      connections: subscribers.reduce((sum, { connections }) => sum + connections, 0),
      disconnects,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return report;
  } catch (error) {
    process.stdout.write(`${servers.outputs()}\n`);
    throw error;
  } finally {
    for (const subscriber of subscribers) subscriber.close();
    for (const { writer } of transactionWriters) await writer.close();
  }
}

/** Collects the errors of writers, subscribers and outages, which run in the background. */
class Failures {
  readonly #errors: Error[] = [];

  add(error: unknown): void {
    this.#errors.push(error instanceof Error ? error : new Error(String(error)));
  }

  /** @throws the first collected error */
  throwFirst(): void {
    const [first] = this.#errors;
    if (first !== undefined) throw first;
  }
}

async function createKnownSessions(servers: ChaosServers, acknowledged: Acknowledged, random: RandomSource): Promise<KnownSessions> {
  const create = (index: number) =>
    createSession({ servers, acknowledged }, random, { agentId: AGENTS[index % AGENTS.length], title: `common ${index}` });
  const [first, second, third] = [await create(0), await create(1), await create(2)];
  const more = [];
  for (let index = 3; index < COMMON_SESSIONS; index += 1) more.push(await create(index));
  return { common: [first, second, third, ...more], agents: AGENTS };
}

function createSubscribers(plan: ChaosPlan, known: KnownSessions, failures: Failures): readonly ChaosSubscriber[] {
  const kinds = subscriberKinds(known);
  return Array.from({ length: plan.subscribers }, (_, index) => kinds[index % kinds.length])
    .filter(kind => kind !== undefined)
    .map(
      (kind, index) =>
        new ChaosSubscriber({
          kind,
          // The number of kinds is odd, so the second subscriber of a kind uses the other transport.
          transport: index % 2 === 0 ? 'ws' : 'sse',
          servers: plan.servers,
          random: createRandomSource(plan.seed, 1_000 + index),
          onFailure: error => failures.add(error),
        }),
    );
}

interface SessionWriter {
  readonly sessionId: string;
  readonly writer: TransactionWriter;
}

async function createTransactionWriters(
  plan: ChaosPlan,
  acknowledged: Acknowledged,
  random: RandomSource,
): Promise<readonly SessionWriter[]> {
  const { servers, databaseUrl, seed } = plan;
  const writers: SessionWriter[] = [];
  // The last one is for the transaction that stays open.
  for (let index = 0; index <= TRANSACTION_WRITERS; index += 1) {
    const sessionId = await createSession({ servers, acknowledged }, random, { agentId: AGENTS[index], title: `transactions ${index}` });
    writers.push({ sessionId, writer: createTransactionWriter(databaseUrl, sessionId, createRandomSource(seed, 3_000 + index)) });
  }
  return writers;
}

function startWriting(
  { writers, seed }: ChaosPlan,
  setup: WriterSetup,
  transactionWriters: readonly SessionWriter[],
  failures: Failures,
): { stop(): Promise<void> } {
  let stopped = false;
  async function repeat(write: () => Promise<void>, random: RandomSource): Promise<void> {
    try {
      while (!stopped) {
        await write();
        await delay(random.integer(0, WRITER_PAUSE_MS));
      }
    } catch (error) {
      failures.add(error);
    }
  }
  const running = Array.from({ length: writers }, (_, index) => {
    const random = createRandomSource(seed, 2_000 + index);
    const writer = new ChaosWriter(setup, random);
    return repeat(() => writer.write(), random);
  });
  for (const [index, { writer }] of transactionWriters.slice(0, TRANSACTION_WRITERS).entries()) {
    running.push(repeat(() => writer.write(), createRandomSource(seed, 4_000 + index)));
  }
  return {
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}

/** Starts the subscribers and breaks their connections. @returns the number of disconnects by kind */
async function disconnectAtRandom(
  plan: ChaosPlan,
  subscribers: readonly ChaosSubscriber[],
  transactionWriters: readonly SessionWriter[],
  failures: Failures,
  random: RandomSource,
): Promise<Record<string, number>> {
  const early = subscribers.slice(0, Math.ceil(subscribers.length * (1 - LATE_SHARE)));
  const late = subscribers.slice(early.length);
  const outages = [...(plan.outages ?? [])];
  const running: Promise<void>[] = [];
  const runInBackground = (task: Promise<void>) => running.push(task.catch(error => failures.add(error)));
  const counts: Record<string, number> = {};
  for (const subscriber of early) subscriber.start();
  if (plan.openTransactionMs !== null)
    runInBackground(keepTransactionOpen(plan.databaseUrl, plan.openTransactionMs, transactionWriters, early));
  for (let done = 0; done < plan.disconnects; done += 1) {
    while (late.length > 0 && done >= plan.disconnects * (1 - late.length / (subscribers.length - early.length + 1))) late.pop()?.start();
    if (done >= (outages[0]?.afterDisconnects ?? plan.disconnects)) runInBackground(outages.shift()?.run() ?? Promise.resolve());
    await delay(random.integer(0, plan.maxPauseMs));
    await waitUntil(() => subscribers.some(({ isOpen }) => isOpen), failures);
    const open = subscribers.filter(({ isOpen }) => isOpen);
    const subscriber = random.pick([open[0], ...open]);
    if (subscriber === undefined) continue;
    const kind = random.pick(DISCONNECT_KINDS);
    subscriber.disconnect(kind);
    counts[kind] = (counts[kind] ?? 0) + 1;
    if (random.chance(STALL_CHANCE)) random.pick([open[0], ...open])?.stall(random.integer(100, 1_500));
  }
  for (const subscriber of late) subscriber.start();
  await Promise.all(running);
  return counts;
}

/** Keeps a transaction with an event open until a subscriber has received many later events. */
async function keepTransactionOpen(
  databaseUrl: string,
  openTransactionMs: number,
  transactionWriters: readonly SessionWriter[],
  subscribers: readonly ChaosSubscriber[],
): Promise<void> {
  await transactionWriters.at(-1)?.writer.writeSlowly(async () => {
    const [end] = await runSql<{ seq: string }>(databaseUrl, 'select last_seq as seq from aria_engine.event_log_state');
    const subscriberToAll = subscribers[0];
    const receivedSince = () => subscriberToAll?.received.filter(({ seq }) => seq > BigInt(end?.seq ?? 0)).length ?? 0;
    await Promise.all([delay(openTransactionMs), waitUntil(() => receivedSince() > EVENTS_WHILE_OPEN)]);
  });
}

async function waitUntil(condition: () => boolean | Promise<boolean>, failures?: Failures): Promise<void> {
  const deadline = performance.now() + 2 * TEST_WAIT_MS;
  while (!(await condition())) {
    failures?.throwFirst();
    if (performance.now() > deadline) throw new Error(`The condition did not become true: ${condition}`);
    await delay(POLL_MS);
  }
}

/** Waits until all committed events are sequenced. Nothing triggers this; the servers must find the events themselves. */
async function waitUntilSequenced(databaseUrl: string): Promise<void> {
  await waitUntil(async () => {
    const [row] = await runSql<{ waiting: number }>(
      databaseUrl,
      'select count(*)::int as waiting from aria_engine.session_events where seq is null',
    );
    return row?.waiting === 0;
  });
}

function expectedSeqs(databaseUrl: string, condition: string): Promise<{ seq: string }[]> {
  return runSql(databaseUrl, `select e.seq from aria_engine.session_events e where ${condition} order by e.seq`);
}

/**
 * Waits until each subscriber has received as many events as the table has for it, or until nothing has arrived for a long time.
 * Missing events are reported later.
 */
async function waitForDelivery(databaseUrl: string, subscribers: readonly ChaosSubscriber[], failures: Failures): Promise<void> {
  const counts = new Map<ChaosSubscriber, number>();
  for (const subscriber of subscribers) counts.set(subscriber, (await expectedSeqs(databaseUrl, subscriber.kind.condition)).length);
  const haveReceivedAll = () => subscribers.every(subscriber => subscriber.received.length >= (counts.get(subscriber) ?? 0));
  const deliveries = () => subscribers.reduce((sum, { received }) => sum + received.length, 0);
  let before = deliveries();
  let deadline = performance.now() + TEST_WAIT_MS;
  while (!haveReceivedAll() && performance.now() < deadline) {
    failures.throwFirst();
    await delay(POLL_MS);
    if (deliveries() > before) deadline = performance.now() + TEST_WAIT_MS;
    before = deliveries();
  }
}

async function assertSubscribersReceivedAll(
  databaseUrl: string,
  subscribers: readonly ChaosSubscriber[],
  log: readonly LoggedEvent[],
): Promise<void> {
  const bySeq = new Map(log.map(event => [event.seq, event]));
  for (const subscriber of subscribers) {
    const rows = await expectedSeqs(databaseUrl, subscriber.kind.condition);
    const expected = rows.map(({ seq }) => bySeq.get(BigInt(seq))).filter(event => event !== undefined);
    expect(expected.length, `${subscriber.name} has no event to receive`).toBeGreaterThan(0);
    const firstDifference = expected.findIndex(({ line }, index) => subscriber.received[index]?.line !== line);
    if (firstDifference !== -1 || subscriber.received.length !== expected.length)
      throw new Error(describeDifference(subscriber, expected, firstDifference));
    assertPositions(subscriber, expected);
  }
}

function describeDifference(subscriber: ChaosSubscriber, expected: readonly ComparableEvent[], firstDifference: number): string {
  const from = Math.max(0, (firstDifference === -1 ? expected.length : firstDifference) - 2);
  const show = (events: readonly ComparableEvent[]) =>
    events
      .slice(from, from + 6)
      .map(({ line }) => `  ${line}`)
      .join('\n');
  return `${subscriber.name} received ${subscriber.received.length} of ${expected.length} events. Received from event ${from} on:
${show(subscriber.received)}
Expected:
${show(expected)}
The last changes of its connection:
${subscriber.journal}`;
}

/** Checks that each delivered message is the one of its event, and that a message is missing only if it no longer exists. */
function assertPositions(subscriber: ChaosSubscriber, expected: readonly LoggedEvent[]): void {
  const wrong = expected.filter(({ type, position, payload }, index) => {
    const received = subscriber.received[index]?.position ?? null;
    return type === 'MESSAGE_ADDED' && (received === null ? position !== null : received !== payload.position);
  });
  expect(wrong, subscriber.name).toEqual([]);
}

/** Checks that the log has each acknowledged change exactly once, without gaps, and each session's messages in the order of their positions. */
function assertLogIsComplete(
  log: readonly LoggedEvent[],
  written: readonly LoggedEvent[],
  acknowledged: Acknowledged,
  transactionWriters: readonly SessionWriter[],
): void {
  expect(log.map(({ seq }) => seq)).toEqual(log.map((_, index) => BigInt(index + 1)));
  const eventsOfType = (type: string) => written.filter(event => event.type === type);
  const sortedValues = (events: readonly LoggedEvent[], value: (event: LoggedEvent) => unknown) =>
    events.map(event => String(value(event))).sort();
  const sessionIdOf = ({ sessionId }: LoggedEvent) => sessionId;
  const messageIdOf = ({ payload }: LoggedEvent) => payload.messageId;
  expect(sortedValues(eventsOfType('CREATED'), sessionIdOf)).toEqual(acknowledged.createdSessions.toSorted());
  expect(sortedValues(eventsOfType('MESSAGE_ADDED'), messageIdOf)).toEqual(acknowledged.addedMessages.toSorted());
  expect(sortedValues(eventsOfType('MESSAGE_DELETED'), messageIdOf)).toEqual(acknowledged.deletedMessages.toSorted());
  const removals = eventsOfType('DELETED').filter(({ payload }) => payload.permanent === true);
  expect(sortedValues(removals, sessionIdOf)).toEqual(acknowledged.removedSessions.toSorted());
  const metadata = eventsOfType('UPDATED').filter(({ payload }) => String(payload.changed) === 'metadata');
  expect(sortedValues(metadata, sessionIdOf)).toEqual(acknowledged.updatedSessions.toSorted());
  const positions = new Map<string, number>();
  for (const { sessionId, payload } of eventsOfType('MESSAGE_ADDED')) {
    expect(Number(payload.position)).toBe((positions.get(sessionId) ?? 0) + 1);
    positions.set(sessionId, Number(payload.position));
  }
  const ids = new Set(written.map(({ id }) => id));
  for (const { writer } of transactionWriters) {
    expect(writer.committed.filter(id => !ids.has(id))).toEqual([]);
    expect(writer.rolledBack.filter(id => ids.has(id))).toEqual([]);
  }
}

const HISTORY = `query History($id: ID!, $after: String) {
  session(id: $id) { events(first: 200, after: $after) { pageInfo { endCursor hasNextPage } totalCount nodes {
    __typename cursor occurredAt sessionId agentId
    ... on SessionUpdatedEvent { changed } ... on SessionStatusChangedEvent { from to } ... on SessionDeletedEvent { permanent }
    ... on MessageDeletedEvent { messageId } ... on MessageAddedEvent { message { position } } } } } }`;

interface History {
  readonly events: {
    readonly pageInfo: { readonly endCursor: string | null; readonly hasNextPage: boolean };
    readonly totalCount: number;
    readonly nodes: readonly unknown[];
  };
}

/** Pages through the `events` of every existing session and compares them with the log. */
async function assertSessionEventsMatchLog(
  servers: ChaosServers,
  databaseUrl: string,
  log: readonly LoggedEvent[],
  random: RandomSource,
): Promise<void> {
  const logged = new Map<string, string[]>();
  for (const { sessionId, line } of log) logged.set(sessionId, [...(logged.get(sessionId) ?? []), line]);
  for (const { id } of await runSql<{ id: string }>(databaseUrl, 'select id from aria_engine.chat_sessions')) {
    const received: string[] = [];
    let after: string | null = null;
    for (let more = true; more; ) {
      const { body } = await post(servers.pick(random), { query: HISTORY, variables: { id, after } });
      expect(body.errors).toBeUndefined();
      const session = body.data?.session as History | null | undefined;
      if (session == null) throw new Error(`The API does not return the session ${id}.`);
      const { events } = session;
      received.push(...events.nodes.map(event => toComparableEvent(event).line));
      expect(events.totalCount).toBe(logged.get(id)?.length);
      more = events.pageInfo.hasNextPage;
      after = events.pageInfo.endCursor;
    }
    expect(received).toEqual(logged.get(id));
  }
}
