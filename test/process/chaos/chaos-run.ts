import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import { post } from '../../support/http-client.ts';
import { runSql } from '../../support/sql.ts';
import { TEST_WAIT_MS } from '../../support/wait-time.ts';
import type { ChaosServers } from './chaos-servers.ts';
import { ChaosSubscriber, CUTS } from './chaos-subscriber.ts';
import { type Acknowledged, ChaosWriter, createSession, nothingAcknowledged, type WriterWorld } from './chaos-writer.ts';
import { type KnownSessions, subscriberKinds } from './subscriber-kind.ts';
import { type LoggedEvent, readLog, type ToldEvent, toToldEvent } from './told-event.ts';
import { createTransactionWriter, type TransactionWriter } from './transaction-writer.ts';

/** What is run. */
export interface ChaosPlan {
  /** Of all choices; what they meet, and in which order it happens, is another thing each time. */
  readonly seed: number;
  readonly servers: ChaosServers;
  readonly databaseUrl: string;
  readonly writers: number;
  readonly subscribers: number;
  /** Connections that are cut, one after the other. */
  readonly cuts: number;
  /** Longest pause between two. */
  readonly cutEveryMs: number;
  /** For how long, at least, a transaction is held open while others go on; null for none. */
  readonly holdMs: number | null;
  /** What else befalls servers and database, each once so many connections have been cut. */
  readonly troubles?: readonly { readonly afterCuts: number; befall(): Promise<void> }[];
}

/** What a run came to. */
export interface ChaosReport {
  readonly events: number;
  readonly deliveries: number;
  readonly connections: number;
  readonly cuts: Readonly<Record<string, number>>;
}

const AGENTS = ['chaos-a', 'chaos-b', 'chaos-c'] as const;
const COMMON_SESSIONS = 6;
const TRANSACTION_WRITERS = 2;
const WRITER_PAUSE_MS = 60;
const POLL_MS = 20;
/** Of all subscribers, so many come later than the others; they too begin with the beginning of the log. */
const LATE_SHARE = 0.2;
const STALL_CHANCE = 0.2;
/** Events others must get while a transaction is held. */
const EVENTS_WHILE_HELD = 30;

/** Some transactions take their time when they have written all and drawn the numbers of their events, before others see any of it. */
const DAWDLE = `
create function public.dawdle() returns trigger language plpgsql as
  $$ begin if random() < 0.02 then perform pg_sleep(random() * 0.25); end if; return null; end $$;
create constraint trigger dawdle after insert on aria_engine.session_events deferrable initially deferred
  for each row execute function public.dawdle()`;

/** Events of each type for each of these sessions, so many times over, of which nobody is told: only who looks will find them. */
const UNTOLD_EVENTS = `
insert into aria_engine.session_events (session_id, agent_id, type, payload)
select s.id, s.agent_id, last.type::aria_engine.session_event_type, last.payload::jsonb
from aria_engine.chat_sessions s cross join (values
  ('CREATED', '{}'), ('UPDATED', '{"changed": ["task"]}'),
  ('STATUS_CHANGED', '{"from": "ACTIVE", "to": "WORKING", "reason": null, "usage": {}, "idleMs": 0}'), ('DELETED', '{"permanent": false}'),
  ('RESTORED', '{}'), ('MESSAGE_ADDED', '{"messageId": "00000000-0000-4000-8000-000000000000", "position": 1}'),
  ('MESSAGE_DELETED', '{"messageId": "00000000-0000-4000-8000-000000000000", "position": 1}')
) last(type, payload) cross join generate_series(1, $2) where s.id = any($1)`;

/** More at once than the servers keep for a subscriber, and come sooner than it can be told of them. */
const BURST = 60;

/**
 * Lets writers write, by way of all servers and beside them, and subscribers follow, whose connections are cut; then holds what each
 * subscriber was told, what each session tells of itself, and what was acknowledged to writers, against the log.
 */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const { databaseUrl, servers, seed } = plan;
  process.stdout.write(`chaos with seed ${seed}\n`);
  const random = createRandomSource(seed, 0);
  const acknowledged = nothingAcknowledged();
  await runSql(databaseUrl, DAWDLE);
  const known = await createKnownSessions(servers, acknowledged, random);
  const faults = new Faults();
  const subscribers = createSubscribers(plan, known, faults);
  const besides = await createTransactionWriters(plan, acknowledged, random);
  try {
    const world: WriterWorld = { servers, common: known.common, agents: AGENTS, acknowledged };
    const writing = startWriting(plan, world, besides, faults);
    const cuts = await cutAtRandom(plan, subscribers, besides, faults, random);
    await writing.stop();
    faults.none();
    await awaitLogEnd(databaseUrl);
    await awaitDelivery(databaseUrl, subscribers, faults);
    const written = await readLog(databaseUrl);
    await runSql(databaseUrl, UNTOLD_EVENTS, [known.common, BURST]);
    await awaitLogEnd(databaseUrl);
    await awaitDelivery(databaseUrl, subscribers, faults);
    // Whoever goes on from the very end of the log is told nothing again, and what comes with no wake-up is found by looking.
    for (const subscriber of subscribers) subscriber.cut('destroy');
    await runSql(databaseUrl, UNTOLD_EVENTS, [known.common, 1]);
    await awaitLogEnd(databaseUrl);
    await awaitDelivery(databaseUrl, subscribers, faults);
    faults.none();
    const log = await readLog(databaseUrl);
    await assertSubscribersToldAll(databaseUrl, subscribers, log);
    assertLogIsWhole(log, written, acknowledged, besides);
    await assertSessionsTellTheSame(servers, databaseUrl, log, random);
    const report = {
      events: log.length,
      deliveries: subscribers.reduce((sum, { told }) => sum + told.length, 0),
      connections: subscribers.reduce((sum, { connections }) => sum + connections, 0),
      cuts,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return report;
  } catch (error) {
    process.stdout.write(`${servers.outputs()}\n`);
    throw error;
  } finally {
    for (const subscriber of subscribers) subscriber.close();
    for (const { writer } of besides) await writer.close();
  }
}

/** What went wrong somewhere while something else was waited for. */
class Faults {
  readonly #faults: Error[] = [];

  add(error: unknown): void {
    this.#faults.push(error instanceof Error ? error : new Error(String(error)));
  }

  /** @throws the first fault */
  none(): void {
    const [first] = this.#faults;
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

function createSubscribers(plan: ChaosPlan, known: KnownSessions, faults: Faults): readonly ChaosSubscriber[] {
  const kinds = subscriberKinds(known);
  return Array.from({ length: plan.subscribers }, (_, index) => kinds[index % kinds.length])
    .filter(kind => kind !== undefined)
    .map(
      (kind, index) =>
        new ChaosSubscriber({
          kind,
          // Each kind over both, as soon as there are two of it: the number of kinds is odd.
          transport: index % 2 === 0 ? 'ws' : 'sse',
          servers: plan.servers,
          random: createRandomSource(plan.seed, 1_000 + index),
          onFault: error => faults.add(error),
        }),
    );
}

interface Beside {
  readonly sessionId: string;
  readonly writer: TransactionWriter;
}

async function createTransactionWriters(plan: ChaosPlan, acknowledged: Acknowledged, random: RandomSource): Promise<readonly Beside[]> {
  const { servers, databaseUrl, seed } = plan;
  const writers: Beside[] = [];
  // One more, for the transaction that is held.
  for (let index = 0; index <= TRANSACTION_WRITERS; index += 1) {
    const sessionId = await createSession({ servers, acknowledged }, random, { agentId: AGENTS[index], title: `beside ${index}` });
    writers.push({ sessionId, writer: createTransactionWriter(databaseUrl, sessionId, createRandomSource(seed, 3_000 + index)) });
  }
  return writers;
}

function startWriting(
  { writers, seed }: ChaosPlan,
  world: WriterWorld,
  besides: readonly Beside[],
  faults: Faults,
): { stop(): Promise<void> } {
  let stopped = false;
  async function repeat(write: () => Promise<void>, random: RandomSource): Promise<void> {
    try {
      while (!stopped) {
        await write();
        await delay(random.integer(0, WRITER_PAUSE_MS));
      }
    } catch (error) {
      faults.add(error);
    }
  }
  const running = Array.from({ length: writers }, (_, index) => {
    const random = createRandomSource(seed, 2_000 + index);
    const writer = new ChaosWriter(world, random);
    return repeat(() => writer.write(), random);
  });
  for (const [index, { writer }] of besides.slice(0, TRANSACTION_WRITERS).entries()) {
    running.push(repeat(() => writer.write(), createRandomSource(seed, 4_000 + index)));
  }
  return {
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}

/** Starts the subscribers and cuts their connections. @returns how many in each way */
async function cutAtRandom(
  plan: ChaosPlan,
  subscribers: readonly ChaosSubscriber[],
  besides: readonly Beside[],
  faults: Faults,
  random: RandomSource,
): Promise<Record<string, number>> {
  const early = subscribers.slice(0, Math.ceil(subscribers.length * (1 - LATE_SHARE)));
  const late = subscribers.slice(early.length);
  const troubles = [...(plan.troubles ?? [])];
  const happening: Promise<void>[] = [];
  const happen = (what: Promise<void>) => happening.push(what.catch(error => faults.add(error)));
  const counts: Record<string, number> = {};
  for (const subscriber of early) subscriber.start();
  if (plan.holdMs !== null) happen(holdTransaction(plan.databaseUrl, plan.holdMs, besides, early));
  for (let cut = 0; cut < plan.cuts; cut += 1) {
    while (late.length > 0 && cut >= plan.cuts * (1 - late.length / (subscribers.length - early.length + 1))) late.pop()?.start();
    if (cut >= (troubles[0]?.afterCuts ?? plan.cuts)) happen(troubles.shift()?.befall() ?? Promise.resolve());
    await delay(random.integer(0, plan.cutEveryMs));
    await comesTrue(() => subscribers.some(({ isOpen }) => isOpen), faults);
    const open = subscribers.filter(({ isOpen }) => isOpen);
    const victim = random.pick([open[0], ...open]);
    if (victim === undefined) continue;
    const how = random.pick(CUTS);
    victim.cut(how);
    counts[how] = (counts[how] ?? 0) + 1;
    if (random.chance(STALL_CHANCE)) random.pick([open[0], ...open])?.stall(random.integer(100, 1_500));
  }
  for (const subscriber of late) subscriber.start();
  await Promise.all(happening);
  return counts;
}

/** Holds a transaction that has written an event until others have written, and subscribers been told of, many after it. */
async function holdTransaction(
  databaseUrl: string,
  holdMs: number,
  besides: readonly Beside[],
  subscribers: readonly ChaosSubscriber[],
): Promise<void> {
  await besides.at(-1)?.writer.hold(async () => {
    const [end] = await runSql<{ seq: string }>(databaseUrl, 'select last_seq as seq from aria_engine.event_log_state');
    const all = subscribers[0];
    const toldSince = () => all?.told.filter(({ seq }) => seq > BigInt(end?.seq ?? 0)).length ?? 0;
    await Promise.all([delay(holdMs), comesTrue(() => toldSince() > EVENTS_WHILE_HELD)]);
  });
}

async function comesTrue(condition: () => boolean | Promise<boolean>, faults?: Faults): Promise<void> {
  const deadline = performance.now() + 2 * TEST_WAIT_MS;
  while (!(await condition())) {
    faults?.none();
    if (performance.now() > deadline) throw new Error(`It did not come true: ${condition}`);
    await delay(POLL_MS);
  }
}

/** Resolves when all that is committed has its place in the log. Nobody is asked for it: the servers must find it. */
async function awaitLogEnd(databaseUrl: string): Promise<void> {
  await comesTrue(async () => {
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

/** Resolves when each subscriber has been told as much as the log has for it, or nothing has come for long: what is missing is shown later. */
async function awaitDelivery(databaseUrl: string, subscribers: readonly ChaosSubscriber[], faults: Faults): Promise<void> {
  const counts = new Map<ChaosSubscriber, number>();
  for (const subscriber of subscribers) counts.set(subscriber, (await expectedSeqs(databaseUrl, subscriber.kind.condition)).length);
  const toldAll = () => subscribers.every(subscriber => subscriber.told.length >= (counts.get(subscriber) ?? 0));
  const deliveries = () => subscribers.reduce((sum, { told }) => sum + told.length, 0);
  let before = deliveries();
  let deadline = performance.now() + TEST_WAIT_MS;
  while (!toldAll() && performance.now() < deadline) {
    faults.none();
    await delay(POLL_MS);
    if (deliveries() > before) deadline = performance.now() + TEST_WAIT_MS;
    before = deliveries();
  }
}

async function assertSubscribersToldAll(
  databaseUrl: string,
  subscribers: readonly ChaosSubscriber[],
  log: readonly LoggedEvent[],
): Promise<void> {
  const bySeq = new Map(log.map(event => [event.seq, event]));
  for (const subscriber of subscribers) {
    const rows = await expectedSeqs(databaseUrl, subscriber.kind.condition);
    const expected = rows.map(({ seq }) => bySeq.get(BigInt(seq))).filter(event => event !== undefined);
    expect(expected.length, `${subscriber.name} has something to be told`).toBeGreaterThan(0);
    const at = expected.findIndex(({ line }, index) => subscriber.told[index]?.line !== line);
    if (at !== -1 || subscriber.told.length !== expected.length) throw new Error(describeDifference(subscriber, expected, at));
    assertPositions(subscriber, expected);
  }
}

function describeDifference(subscriber: ChaosSubscriber, expected: readonly ToldEvent[], at: number): string {
  const from = Math.max(0, (at === -1 ? expected.length : at) - 2);
  const show = (events: readonly ToldEvent[]) =>
    events
      .slice(from, from + 6)
      .map(({ line }) => `  ${line}`)
      .join('\n');
  return `${subscriber.name} was told ${subscriber.told.length} events, the log has ${expected.length} for it. From event ${from} on told:
${show(subscriber.told)}
in the log:
${show(expected)}
its connections lately:
${subscriber.journal}`;
}

/** A message that is there can always be had, and is the one the event tells of. */
function assertPositions(subscriber: ChaosSubscriber, expected: readonly LoggedEvent[]): void {
  const wrong = expected.filter(({ type, position, payload }, index) => {
    const told = subscriber.told[index]?.position ?? null;
    return type === 'MESSAGE_ADDED' && (told === null ? position !== null : told !== payload.position);
  });
  expect(wrong, subscriber.name).toEqual([]);
}

/** Each change is in the log once, at a place of its own without gaps between, those of one session in the order of its changes. */
function assertLogIsWhole(
  log: readonly LoggedEvent[],
  written: readonly LoggedEvent[],
  acknowledged: Acknowledged,
  besides: readonly Beside[],
): void {
  expect(log.map(({ seq }) => seq)).toEqual(log.map((_, index) => BigInt(index + 1)));
  const of = (type: string) => written.filter(event => event.type === type);
  const texts = (events: readonly LoggedEvent[], value: (event: LoggedEvent) => unknown) =>
    events.map(event => String(value(event))).sort();
  const idOf = ({ sessionId }: LoggedEvent) => sessionId;
  const messageOf = ({ payload }: LoggedEvent) => payload.messageId;
  expect(texts(of('CREATED'), idOf)).toEqual(acknowledged.createdSessions.toSorted());
  expect(texts(of('MESSAGE_ADDED'), messageOf)).toEqual(acknowledged.addedMessages.toSorted());
  expect(texts(of('MESSAGE_DELETED'), messageOf)).toEqual(acknowledged.deletedMessages.toSorted());
  const removals = of('DELETED').filter(({ payload }) => payload.permanent === true);
  expect(texts(removals, idOf)).toEqual(acknowledged.removedSessions.toSorted());
  const metadata = of('UPDATED').filter(({ payload }) => String(payload.changed) === 'metadata');
  expect(texts(metadata, idOf)).toEqual(acknowledged.updatedSessions.toSorted());
  const positions = new Map<string, number>();
  for (const { sessionId, payload } of of('MESSAGE_ADDED')) {
    expect(Number(payload.position)).toBe((positions.get(sessionId) ?? 0) + 1);
    positions.set(sessionId, Number(payload.position));
  }
  const ids = new Set(written.map(({ id }) => id));
  for (const { writer } of besides) {
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

/** Pages through the events of every session that is there. */
async function assertSessionsTellTheSame(
  servers: ChaosServers,
  databaseUrl: string,
  log: readonly LoggedEvent[],
  random: RandomSource,
): Promise<void> {
  const logged = new Map<string, string[]>();
  for (const { sessionId, line } of log) logged.set(sessionId, [...(logged.get(sessionId) ?? []), line]);
  for (const { id } of await runSql<{ id: string }>(databaseUrl, 'select id from aria_engine.chat_sessions')) {
    const told: string[] = [];
    let after: string | null = null;
    for (let more = true; more; ) {
      const { body } = await post(servers.pick(random), { query: HISTORY, variables: { id, after } });
      expect(body.errors).toBeUndefined();
      const session = body.data?.session as History | null | undefined;
      if (session == null) throw new Error(`The session ${id} is not to be had.`);
      const { events } = session;
      told.push(...events.nodes.map(event => toToldEvent(event).line));
      expect(events.totalCount).toBe(logged.get(id)?.length);
      more = events.pageInfo.hasNextPage;
      after = events.pageInfo.endCursor;
    }
    expect(told).toEqual(logged.get(id));
  }
}
