import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { runLoad, sendOnce } from './http-load.ts';
import { assertSameResponse, encodeRequest, type Side, type Workload, type WorkloadRequest } from './workload.ts';

/** The figures of one server for one workload. */
export interface SideResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server's process, without Postgres. */
  readonly cpuMsPerRequest: number;
  /** CPU time of Postgres; null if this system does not show it. */
  readonly postgresCpuMsPerRequest: number | null;
  readonly requests: number;
}

/** The figures of the servers for one workload. */
export interface WorkloadResult {
  readonly workload: Workload;
  readonly raw: SideResult;
  readonly ours: SideResult;
  /** Absent if PostGraphile was not measured. */
  readonly postgraphile?: SideResult;
  /** Requests per second of Sessiongraph, divided by those of the baseline. */
  readonly ratio: number;
  /** The same, divided by those of PostGraphile. */
  readonly postgraphileRatio: number | null;
  readonly goalMet: boolean;
}

/** How often and how long each server is measured. */
export interface MeasurementPlan {
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

/** The servers to measure. */
export interface MeasuredServers {
  readonly raw: MeasuredServer;
  readonly ours: MeasuredServer;
  readonly postgraphile?: MeasuredServer;
}

/** A server whose CPU time can be measured. */
export type MeasuredServer = Pick<ChildServer, 'port' | 'cpuMs'>;

/** The sums of one server's rounds so far. */
interface Tally {
  requests: number;
  seconds: number;
  cpuMs: number;
  postgresCpuMs: number | null;
  readonly latencies: number[];
}

/**
 * Checks that the servers give the same response, then measures them in alternating rounds: other load on the machine affects all equally.
 * @param postgresCpuMs the CPU time of Postgres so far; null if this system does not show it
 */
export async function measure(
  workload: Workload,
  servers: MeasuredServers,
  plan: MeasurementPlan,
  postgresCpuMs: () => number | null = () => null,
): Promise<WorkloadResult> {
  const [first] = workload.clients[0] ?? [];
  if (first === undefined) throw new Error(`${workload.name} has no requests.`);
  const sides: readonly Side[] =
    servers.postgraphile === undefined || first.postgraphile === undefined ? ['raw', 'ours'] : ['raw', 'ours', 'postgraphile'];
  const serverOf = (side: Side): MeasuredServer => {
    const server = servers[side];
    if (server === undefined) throw new Error(`There is no server ${side}.`);
    return server;
  };
  const encode = (request: WorkloadRequest, side: Side): Buffer => {
    const encoded = encodeRequest(request, side);
    if (encoded === null) throw new Error(`${side} does not serve ${workload.name}.`);
    return encoded;
  };
  const responses = new Map<Side, unknown>();
  for (const side of sides) responses.set(side, await sendOnce(serverOf(side).port, encode(first, side)));
  assertSameResponse(workload, responses);

  const tallies: Record<Side, Tally> = { raw: emptyTally(), ours: emptyTally(), postgraphile: emptyTally() };
  const load = (side: Side, durationMs: number) =>
    runLoad({
      port: serverOf(side).port,
      durationMs,
      clients: workload.clients.map(requests => requests.map(each => encode(each, side))),
    });
  for (const side of sides) await load(side, plan.warmUpMs);
  for (let round = 0; round < plan.rounds; round += 1) {
    // The order is reversed in every second round.
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const tally = tallies[side];
      const cpuBefore = await serverOf(side).cpuMs();
      const postgresBefore = postgresCpuMs();
      const result = await load(side, plan.roundMs);
      const postgresAfter = postgresCpuMs();
      tally.cpuMs += (await serverOf(side).cpuMs()) - cpuBefore;
      if (postgresBefore !== null && postgresAfter !== null)
        tally.postgresCpuMs = (tally.postgresCpuMs ?? 0) + postgresAfter - postgresBefore;
      tally.requests += result.requests;
      tally.seconds += result.seconds;
      for (const latency of result.latencies) tally.latencies.push(latency);
    }
  }
  const raw = summarise(tallies.raw);
  const ours = summarise(tallies.ours);
  const postgraphile = sides.includes('postgraphile') ? summarise(tallies.postgraphile) : undefined;
  const ratio = ours.requestsPerSecond / raw.requestsPerSecond;
  const postgraphileRatio = postgraphile === undefined ? null : ours.requestsPerSecond / postgraphile.requestsPerSecond;
  const goalMet = 'ratio' in workload.goal ? ratio >= workload.goal.ratio : ours.p99Ms <= workload.goal.p99Ms;
  return { workload, raw, ours, postgraphile, ratio, postgraphileRatio, goalMet };
}

function emptyTally(): Tally {
  return { requests: 0, seconds: 0, cpuMs: 0, postgresCpuMs: null, latencies: [] };
}

function summarise({ requests, seconds, cpuMs, postgresCpuMs, latencies }: Tally): SideResult {
  const sorted = [...latencies].sort((a, b) => a - b);
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    requests,
    requestsPerSecond: requests / seconds,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    cpuMsPerRequest: cpuMs / requests,
    postgresCpuMsPerRequest: postgresCpuMs === null ? null : postgresCpuMs / requests,
  };
}

/** Formats the results as a Markdown table, with a line for each server. */
export function formatResults(results: readonly WorkloadResult[]): string {
  const head = ['workload', 'server', 'req/s', 'x raw', 'goal', 'p50 ms', 'p99 ms', 'CPU ms/req', 'Postgres CPU ms/req'];
  const lines = results.flatMap(({ workload, raw, ours, postgraphile, goalMet }) => {
    const goal = `${'ratio' in workload.goal ? workload.goal.ratio.toFixed(2) : `p99 ${workload.goal.p99Ms} ms`} ${goalMet ? 'met' : 'missed'}`;
    const line = (name: string, side: SideResult, goalText = '') => [
      `${workload.name} ${workload.title}`,
      name,
      side.requestsPerSecond.toFixed(0),
      (side.requestsPerSecond / raw.requestsPerSecond).toFixed(2),
      goalText,
      side.p50Ms.toFixed(2),
      side.p99Ms.toFixed(2),
      side.cpuMsPerRequest.toFixed(3),
      side.postgresCpuMsPerRequest?.toFixed(3) ?? '-',
    ];
    return [
      line('raw', raw),
      ...(postgraphile === undefined ? [] : [line('PostGraphile 5', postgraphile)]),
      line('Sessiongraph', ours, goal),
    ];
  });
  return formatTable(head, lines);
}
