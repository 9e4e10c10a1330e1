import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { runLoad, sendOnce } from './http-load.ts';
import { assertSameResponse, encodeRequest, type Side, type Workload } from './workload.ts';

/** The figures of one server for one workload. */
interface SideResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server's process, without Postgres. */
  readonly cpuMsPerRequest: number;
  readonly requests: number;
}

/** The figures of both servers for one workload. */
export interface WorkloadResult {
  readonly workload: Workload;
  readonly raw: SideResult;
  readonly ours: SideResult;
  /** Requests per second of Sessiongraph, divided by those of the baseline. */
  readonly ratio: number;
  readonly goalMet: boolean;
}

/** How often and how long each server is measured. */
export interface MeasurementPlan {
  readonly rounds: number;
  readonly roundMs: number;
  readonly warmUpMs: number;
}

const SIDES: readonly Side[] = ['raw', 'ours'];

/** The sums of one server's rounds so far. */
interface Tally {
  requests: number;
  seconds: number;
  cpuMs: number;
  readonly latencies: number[];
}

/**
 * Checks that both servers give the same response, then measures them in alternating rounds: other load on the machine affects
 * both equally.
 */
export async function measure(
  workload: Workload,
  servers: Readonly<Record<Side, ChildServer>>,
  plan: MeasurementPlan,
): Promise<WorkloadResult> {
  const [first] = workload.clients[0] ?? [];
  if (first === undefined) throw new Error(`${workload.name} has no requests.`);
  assertSameResponse(workload, {
    raw: await sendOnce(servers.raw.port, encodeRequest(first, 'raw')),
    ours: await sendOnce(servers.ours.port, encodeRequest(first, 'ours')),
  });

  const tallies: Record<Side, Tally> = { raw: emptyTally(), ours: emptyTally() };
  const load = (side: Side, durationMs: number) =>
    runLoad({
      port: servers[side].port,
      durationMs,
      clients: workload.clients.map(requests => requests.map(each => encodeRequest(each, side))),
    });
  for (const side of SIDES) await load(side, plan.warmUpMs);
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const side of SIDES) {
      const tally = tallies[side];
      const cpuBefore = await servers[side].cpuMs();
      const result = await load(side, plan.roundMs);
      tally.cpuMs += (await servers[side].cpuMs()) - cpuBefore;
      tally.requests += result.requests;
      tally.seconds += result.seconds;
      for (const latency of result.latencies) tally.latencies.push(latency);
    }
  }
  const raw = summarise(tallies.raw);
  const ours = summarise(tallies.ours);
  const ratio = ours.requestsPerSecond / raw.requestsPerSecond;
  const goalMet = 'ratio' in workload.goal ? ratio >= workload.goal.ratio : ours.p99Ms <= workload.goal.p99Ms;
  return { workload, raw, ours, ratio, goalMet };
}

function emptyTally(): Tally {
  return { requests: 0, seconds: 0, cpuMs: 0, latencies: [] };
}

function summarise({ requests, seconds, cpuMs, latencies }: Tally): SideResult {
  const sorted = [...latencies].sort((a, b) => a - b);
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    requests,
    requestsPerSecond: requests / seconds,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    cpuMsPerRequest: cpuMs / requests,
  };
}

/** Formats the results as a Markdown table. */
export function formatResults(results: readonly WorkloadResult[]): string {
  const head = [
    'workload',
    'ratio to raw',
    'goal',
    'req/s',
    'p50 ms',
    'p99 ms',
    'CPU ms/req',
    'raw req/s',
    'raw p50 ms',
    'raw p99 ms',
    'raw CPU ms/req',
  ];
  const figures = (side: SideResult) => [
    side.requestsPerSecond.toFixed(0),
    side.p50Ms.toFixed(2),
    side.p99Ms.toFixed(2),
    side.cpuMsPerRequest.toFixed(3),
  ];
  const lines = results.map(({ workload, raw, ours, ratio, goalMet }) => [
    `${workload.name} ${workload.title}`,
    ratio.toFixed(2),
    `${'ratio' in workload.goal ? workload.goal.ratio.toFixed(2) : `p99 ${workload.goal.p99Ms} ms`} ${goalMet ? 'met' : 'missed'}`,
    ...figures(ours),
    ...figures(raw),
  ]);
  return formatTable(head, lines);
}
