import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { withDedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { encodePost, sendOnce } from './http-load.ts';
import { type LiveTransport, openSubscription } from './live-client.ts';

/** Subscribers, and the events that are sent to them. */
export interface LiveWorkload {
  readonly name: string;
  readonly title: string;
  readonly transport: LiveTransport;
  readonly subscribers: number;
  /** Whether each subscriber watches another session; otherwise all watch the same one. */
  readonly distinct: boolean;
  /** The fields that each subscriber selects. */
  readonly selection: string;
  /** Messages appended one by one at this rate, to the sessions in turn. */
  readonly paced: { readonly events: number; readonly perSecond: number };
  /** Events of each session that are written at the same time. */
  readonly burst: number;
}

/** The result of a workload. Every event was delivered to every subscriber of its session. */
export interface LiveResult {
  readonly workload: LiveWorkload;
  /** Paced events: milliseconds from the response to the append until a subscriber received the event; 0 if the event came first. */
  readonly sinceResponse: { readonly p50Ms: number; readonly p99Ms: number };
  /** The same, from the sending of the append. */
  readonly sinceSent: { readonly p50Ms: number; readonly p99Ms: number };
  /** Paced appends per second. */
  readonly pacedPerSecond: number;
  /** Deliveries of the burst per second, from the first to the last. */
  readonly deliveriesPerSecond: number;
  /** CPU time of the server's process during the burst, including reading the event log. */
  readonly cpuMicrosPerDelivery: number;
  /** Memory of the server per subscriber, in KB. */
  readonly heapKb: number;
  readonly residentKb: number;
}

const SUBSCRIBERS = 1_000;
const OWN_FIELDS = 'cursor occurredAt sessionId agentId';
const WITH_MESSAGE = 'cursor message { id position role content createdAt }';

/** W8 of PERFORMANCE.md. */
export function createLiveWorkloads(subscribers = SUBSCRIBERS): readonly LiveWorkload[] {
  const kinds = [
    { distinct: false, where: 'on one session', paced: { events: 40, perSecond: 10 }, burst: 200 },
    { distinct: true, where: 'on a session each', paced: { events: 3 * subscribers, perSecond: 900 }, burst: 40 },
  ];
  const shapes: readonly { transport: LiveTransport; what: string; selection: string }[] = [
    { transport: 'ws', what: 'WebSocket', selection: OWN_FIELDS },
    { transport: 'ws', what: 'WebSocket, with the message', selection: WITH_MESSAGE },
    { transport: 'sse', what: 'event stream', selection: OWN_FIELDS },
  ];
  return shapes.flatMap(({ transport, what, selection }) =>
    kinds.map(({ distinct, where, paced, burst }) => ({
      name: 'W8',
      title: `${subscribers} subscribers ${where}, ${what}`,
      ...{ transport, subscribers, distinct, selection, paced, burst },
    })),
  );
}

const CREATE = 'mutation Create { createSession(input: { title: "watched" }) { session { sessionId } } }';
const APPEND =
  'mutation Append($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "All checks passed." } }) { message { position } } }';

/** Writes messages and their events for all sessions in turn, in one transaction outside the server. The server finds the events by polling. */
const BURST = `
with place as (
  select s.id, s.agent_id, a.next_position + turn as position, turn from unnest($1::uuid[]) with ordinality watched(id, ordinal)
  join aria_engine.chat_sessions s using (id) join aria_engine.chat_session_activity a on a.session_id = s.id
  cross join generate_series(0, $2::int - 1) turn
), message as (
  insert into aria_engine.chat_messages (id, session_id, position, role, content, created_at)
  select gen_random_uuid(), place.id, place.position, 'USER', 'All checks passed.', now() from place returning id, session_id, position
)
insert into aria_engine.session_events (session_id, agent_id, type, payload)
select place.id, place.agent_id, 'MESSAGE_ADDED', jsonb_build_object('messageId', message.id, 'position', message.position)
from place join message on message.session_id = place.id and message.position = place.position order by place.turn, place.id`;

/** Expected events count as lost if none arrives for this long. */
const LOST_AFTER_MS = 30_000;
const POLL_MS = 10;
const CREATORS = 16;
const WRITERS = 32;

/**
 * Measures one workload on a server without subscribers. For exact figures of memory, use a server that has just started.
 * @throws Error if a subscriber misses an event or receives it twice
 */
export async function measureLive(workload: LiveWorkload, server: ChildServer, databaseUrl: string): Promise<LiveResult> {
  const { subscribers, distinct, transport, selection, paced, burst } = workload;
  const sessions = await createSessions(server.port, distinct ? subscribers : 1);
  // A first request to /metrics before the memory is measured: what it allocates does not belong to the subscribers.
  await waitForSubscriptions(server.port, 0);
  const before = await settledMemory(server);

  let total = 0;
  let lastAt = 0;
  let firstAt = 0;
  let fault: Error | null = null;
  /** When each subscriber received each event. */
  const receipts: number[][] = Array.from({ length: subscribers }, () => []);
  const closings = receipts.map((_, subscriber) =>
    openSubscription({
      port: server.port,
      transport,
      query: `subscription Watch($id: ID!) { messageAdded(sessionId: $id) { ${selection} } }`,
      variables: { id: sessions[subscriber % sessions.length] },
      onEvent() {
        lastAt = performance.now();
        if (firstAt === 0) firstAt = lastAt;
        receipts[subscriber]?.push(lastAt);
        total += 1;
      },
      onFault(error) {
        fault ??= error;
      },
    }),
  );
  /** Resolves when each subscriber has received its expected number of events. */
  async function waitForEvents(each: (subscriber: number) => number): Promise<void> {
    const expected = receipts.reduce((sum, _, subscriber) => sum + each(subscriber), 0);
    for (let [seen, deadline] = [total, performance.now() + LOST_AFTER_MS]; total < expected; await delay(POLL_MS)) {
      if (fault !== null) throw fault;
      if (total > seen) [seen, deadline] = [total, performance.now() + LOST_AFTER_MS];
      if (performance.now() > deadline) throw new Error(`${workload.title}: ${expected - total} events were not delivered.`);
    }
    const wrong = receipts.findIndex(({ length }, subscriber) => length !== each(subscriber));
    if (wrong !== -1)
      throw new Error(`${workload.title}: subscriber ${wrong} received ${receipts[wrong]?.length} events instead of ${each(wrong)}.`);
  }

  try {
    await waitForSubscriptions(server.port, subscribers, () => fault);
    const connected = await settledMemory(server);

    const began = performance.now();
    const appends = await appendPaced(server.port, sessions, paced);
    const pacedPerSecond = paced.events / ((performance.now() - began) / 1_000);
    const ofSubscriber = (subscriber: number) => appends.filter(({ session }) => session === subscriber % sessions.length);
    await waitForEvents(subscriber => ofSubscriber(subscriber).length);
    // The events of a session come in the order of its appends.
    const latencies = receipts.flatMap((times, subscriber) =>
      ofSubscriber(subscriber).map(({ sentAt, respondedAt }, index) => {
        const at = times[index] ?? Number.NaN;
        return { sinceResponse: Math.max(0, at - respondedAt), sinceSent: at - sentAt };
      }),
    );

    const cpuBefore = await server.cpuMs();
    firstAt = 0;
    await writeBurst(databaseUrl, sessions, burst);
    await waitForEvents(subscriber => ofSubscriber(subscriber).length + burst);
    const deliveries = burst * subscribers;
    const cpuMs = (await server.cpuMs()) - cpuBefore;
    return {
      workload,
      sinceResponse: percentiles(latencies.map(latency => latency.sinceResponse)),
      sinceSent: percentiles(latencies.map(latency => latency.sinceSent)),
      pacedPerSecond,
      deliveriesPerSecond: deliveries / ((lastAt - firstAt) / 1_000),
      cpuMicrosPerDelivery: (cpuMs * 1_000) / deliveries,
      heapKb: (connected.heap - before.heap) / 1_024 / subscribers,
      residentKb: (connected.resident - before.resident) / 1_024 / subscribers,
    };
  } finally {
    for (const close of closings) close();
  }
}

interface SentAppend {
  /** The index of the session. */
  readonly session: number;
  readonly sentAt: number;
  readonly respondedAt: number;
}

/** Sends appends at the given rate, without waiting for responses. @throws Error if one fails */
function appendPaced(
  port: number,
  sessions: readonly string[],
  { events, perSecond }: LiveWorkload['paced'],
): Promise<readonly SentAppend[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: WRITERS });
  const bodies = sessions.map(id => JSON.stringify({ query: APPEND, variables: { id } }));
  const append = (session: number) =>
    new Promise<SentAppend>((resolve, reject) => {
      const sentAt = performance.now();
      request(
        { port, host: '127.0.0.1', path: '/graphql', method: 'POST', agent, headers: { 'content-type': 'application/json' } },
        response => {
          let text = '';
          response.setEncoding('utf8').on('data', chunk => {
            text += chunk;
          });
          response.on('end', () => {
            const respondedAt = performance.now();
            if (text.startsWith('{"data":{"appendMessage":{')) resolve({ session, sentAt, respondedAt });
            else reject(new Error(`An append failed: ${text}`));
          });
        },
      )
        .on('error', reject)
        .end(bodies[session]);
    });
  const sent: Promise<SentAppend>[] = [];
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const timer = setInterval(() => {
      const due = Math.min(events, Math.ceil(((performance.now() - began) * perSecond) / 1_000));
      while (sent.length < due) {
        const next = append(sent.length % sessions.length);
        next.catch(reject);
        sent.push(next);
      }
      if (due < events) return;
      clearInterval(timer);
      Promise.all(sent)
        .finally(() => agent.destroy())
        .then(resolve, reject);
    }, 1);
  });
}

async function createSessions(port: number, count: number): Promise<readonly string[]> {
  const ids: string[] = [];
  const request = encodePost('/graphql', { query: CREATE });
  let left = count;
  async function create(): Promise<void> {
    while (left > 0) {
      left -= 1;
      const id = /"sessionId":"([^"]+)"/.exec(JSON.stringify(await sendOnce(port, request)))?.[1];
      if (id === undefined) throw new Error('A session could not be created.');
      ids.push(id);
    }
  }
  await Promise.all(Array.from({ length: CREATORS }, create));
  return ids;
}

/** Measures memory until it no longer shrinks: by then, earlier garbage has been collected. */
async function settledMemory(server: ChildServer): Promise<{ readonly heap: number; readonly resident: number }> {
  let memory = await server.memory();
  for (let round = 0; round < 10; round += 1) {
    await delay(100);
    const next = await server.memory();
    const isSettled = next.heap > memory.heap * 0.995;
    memory = next;
    if (isSettled) break;
  }
  return memory;
}

/** Resolves when the server has this number of open subscriptions. */
async function waitForSubscriptions(port: number, count: number, fault: () => Error | null = () => null): Promise<void> {
  const deadline = performance.now() + LOST_AFTER_MS;
  for (;;) {
    const failure = fault();
    if (failure !== null) throw failure;
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    if (Number(/^\w*subscriptions (\d+)/m.exec(metrics)?.[1]) === count) return;
    if (performance.now() > deadline) throw new Error(`The server did not reach ${count} subscriptions.`);
    await delay(POLL_MS);
  }
}

async function writeBurst(databaseUrl: string, sessions: readonly string[], each: number): Promise<void> {
  await withDedicatedConnection({ url: databaseUrl, name: 'sessiongraph bench' }, ({ client }) => client.query(BURST, [sessions, each]));
}

function percentiles(values: readonly number[]): { readonly p50Ms: number; readonly p99Ms: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Formats the results as a Markdown table. */
export function formatLiveTable(results: readonly LiveResult[]): string {
  const head = [
    'workload',
    'deliveries/s',
    'CPU us/delivery',
    'events/s paced',
    'p50 ms',
    'p99 ms',
    'p50 ms from sent',
    'p99 ms from sent',
    'heap KB/subscriber',
    'RSS KB/subscriber',
  ];
  const lines = results.map(result => [
    `${result.workload.name} ${result.workload.title}`,
    result.deliveriesPerSecond.toFixed(0),
    result.cpuMicrosPerDelivery.toFixed(1),
    result.pacedPerSecond.toFixed(0),
    result.sinceResponse.p50Ms.toFixed(2),
    result.sinceResponse.p99Ms.toFixed(2),
    result.sinceSent.p50Ms.toFixed(2),
    result.sinceSent.p99Ms.toFixed(2),
    result.heapKb.toFixed(1),
    result.residentKb.toFixed(1),
  ]);
  return formatTable(head, lines);
}
