import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { runLoad } from './http-load.ts';
import { openSubscription } from './live-client.ts';
import { encodeRequest, type Workload } from './workload.ts';

/** The resident memory of the server after each tenth of a mixed load, in bytes. */
export interface MemoryResult {
  readonly seconds: number;
  readonly resident: readonly number[];
  /** The largest divided by the first. */
  readonly growth: number;
}

const TENTHS = 10;
const MAX_GROWTH = 1.3;
const BYTES_PER_MB = 1024 * 1024;

/** Subscribers during the load, to sessions that messages are appended to. */
const SUBSCRIBERS = 100;

/**
 * Sends the requests of all workloads at the same time, with subscribers to the sessions that are written, and reads the memory of the
 * server after each tenth of the time.
 * @param sessionIds UUIDs of the sessions to watch
 * @throws Error if a request or a subscription fails
 */
export async function measureMemory(
  server: ChildServer,
  workloads: readonly Workload[],
  sessionIds: readonly string[],
  seconds: number,
): Promise<MemoryResult> {
  const clients = workloads.flatMap(workload =>
    workload.clients.slice(0, 2).map(requests => requests.flatMap(request => encodeRequest(request, 'ours') ?? [])),
  );
  let fault: Error | null = null;
  const closings = Array.from({ length: SUBSCRIBERS }, (_, subscriber) =>
    openSubscription({
      port: server.port,
      transport: subscriber % 2 === 0 ? 'ws' : 'sse',
      query: 'subscription Watch($id: ID!) { messageAdded(sessionId: $id) { cursor message { id content } } }',
      variables: { id: sessionIds[subscriber % sessionIds.length] },
      onEvent: () => undefined,
      onFault: error => {
        fault ??= error;
      },
    }),
  );
  const resident: number[] = [];
  try {
    for (let tenth = 0; tenth < TENTHS; tenth += 1) {
      await runLoad({ port: server.port, clients, durationMs: (seconds * 1_000) / TENTHS });
      if (fault !== null) throw fault;
      resident.push(await server.residentBytes());
    }
  } finally {
    for (const close of closings) close();
  }
  return { seconds, resident, growth: Math.max(...resident) / (resident[0] ?? 1) };
}

/** Formats the result as a Markdown table. */
export function formatMemory({ seconds, resident, growth }: MemoryResult): string {
  const lines = resident.map((bytes, index) => [`memory after ${((index + 1) * seconds) / TENTHS} s`, (bytes / BYTES_PER_MB).toFixed(0)]);
  const verdict = `The largest is ${growth.toFixed(2)} times the first; the goal of at most ${MAX_GROWTH} is ${growth <= MAX_GROWTH ? 'met' : 'missed'}.`;
  return `${formatTable(['mixed load', 'resident MB'], lines)}\n\n${verdict}`;
}
