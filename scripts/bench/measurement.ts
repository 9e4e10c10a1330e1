import type { ChildServer } from './child-server.ts';
import { formatTable } from './format-table.ts';
import { runLoad, sendOnce } from './http-load.ts';
import { assertSameResponse, encodeRequest, type Goal, type Side, type Workload, type WorkloadRequest } from './workload.ts';

/** The figures of one server for one workload: medians of its rounds, except the latencies, which are of all rounds together. */
export interface SideResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server's process, without Postgres. */
  readonly cpuMsPerRequest: number;
  /** CPU time of Postgres; null if this system does not show it. */
  readonly postgresCpuMsPerRequest: number | null;
  readonly requests: number;
  /** The requests per second of each round. */
  readonly rounds: readonly number[];
}

/** The figures of the servers for one workload. */
export interface WorkloadResult {
  readonly workload: Workload;
  readonly raw: SideResult;
  readonly ours: SideResult;
  /** Absent if PostGraphile was not measured. */
  readonly postgraphile?: SideResult;
  /** Requests per second of Sessiongraph, divided by those of the baseline in the same round: the median of the rounds. */
  readonly ratio: number;
  /** The same, divided by those of PostGraphile. */
  readonly postgraphileRatio: number | null;
  /** Null if the goal is a ratio to PostGraphile, which was not measured. */
  readonly goalMet: boolean | null;
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

/** One server's rounds so far. */
interface Tally {
  requests: number;
  readonly rounds: { readonly perSecond: number; readonly cpuMs: number; readonly postgresCpuMs: number | null }[];
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
  const [requests = []] = workload.clients;
  for (const request of COMPARED_REQUESTS.flatMap(index => requests[index] ?? [])) {
    const responses = new Map<Side, unknown>();
    for (const side of sides) responses.set(side, await sendOnce(serverOf(side).port, encode(request, side)));
    assertSameResponse(workload, responses);
  }

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
      const cpuMs = (await serverOf(side).cpuMs()) - cpuBefore;
      tally.rounds.push({
        perSecond: result.requests / result.seconds,
        cpuMs: cpuMs / result.requests,
        postgresCpuMs: postgresBefore === null || postgresAfter === null ? null : (postgresAfter - postgresBefore) / result.requests,
      });
      tally.requests += result.requests;
      for (const latency of result.latencies) tally.latencies.push(latency);
    }
  }
  const raw = summarise(tallies.raw);
  const ours = summarise(tallies.ours);
  const postgraphile = sides.includes('postgraphile') ? summarise(tallies.postgraphile) : undefined;
  const ratio = medianRatio(ours, raw);
  const postgraphileRatio = postgraphile === undefined ? null : medianRatio(ours, postgraphile);
  return { workload, raw, ours, postgraphile, ratio, postgraphileRatio, goalMet: isGoalMet(workload.goal, ours, ratio, postgraphileRatio) };
}

/** The requests that are compared, by their place in the list of a client. */
const COMPARED_REQUESTS = [0, 3, 17, 41];

/** Null if the goal needs PostGraphile, which was not measured. */
function isGoalMet(goal: Goal, ours: SideResult, ratio: number, postgraphileRatio: number | null): boolean | null {
  if ('p99Ms' in goal) return ours.p99Ms <= goal.p99Ms;
  if ('ratio' in goal) return ratio >= goal.ratio;
  return postgraphileRatio === null ? null : postgraphileRatio >= goal.postgraphileRatio;
}

function medianRatio(a: SideResult, b: SideResult): number {
  return median(a.rounds.map((perSecond, round) => perSecond / (b.rounds[round] ?? Number.NaN)));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function emptyTally(): Tally {
  return { requests: 0, rounds: [], latencies: [] };
}

function summarise({ requests, rounds, latencies }: Tally): SideResult {
  const sorted = latencies.toSorted((a, b) => a - b);
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  const postgres = rounds.flatMap(({ postgresCpuMs }) => postgresCpuMs ?? []);
  return {
    requests,
    requestsPerSecond: median(rounds.map(({ perSecond }) => perSecond)),
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    cpuMsPerRequest: median(rounds.map(({ cpuMs }) => cpuMs)),
    postgresCpuMsPerRequest: postgres.length === 0 ? null : median(postgres),
    rounds: rounds.map(({ perSecond }) => perSecond),
  };
}

function describeGoal(goal: Goal, isMet: boolean | null): string {
  if (isMet === null) return '';
  const verdict = isMet ? 'met' : 'missed';
  if ('p99Ms' in goal) return `p99 ${goal.p99Ms} ms ${verdict}`;
  return 'ratio' in goal ? `${goal.ratio.toFixed(2)} x raw ${verdict}` : `${goal.postgraphileRatio.toFixed(2)} x PostGraphile ${verdict}`;
}

/** Formats the results as a Markdown table, with a line for each server. */
export function formatResults(results: readonly WorkloadResult[]): string {
  const head = ['workload', 'server', 'req/s', 'x raw', 'x PostGraphile', 'goal', 'p50 ms', 'p99 ms', 'CPU ms/req', 'Postgres CPU ms/req'];
  const lines = results.flatMap(({ workload, raw, ours, postgraphile, goalMet }) => {
    const line = (name: string, side: SideResult, goalText = '') => [
      `${workload.name} ${workload.title}`,
      name,
      side.requestsPerSecond.toFixed(0),
      medianRatio(side, raw).toFixed(2),
      postgraphile === undefined ? '-' : medianRatio(side, postgraphile).toFixed(2),
      goalText,
      side.p50Ms.toFixed(2),
      side.p99Ms.toFixed(2),
      side.cpuMsPerRequest.toFixed(3),
      side.postgresCpuMsPerRequest?.toFixed(3) ?? '-',
    ];
    return [
      line('raw', raw),
      ...(postgraphile === undefined ? [] : [line('PostGraphile 5', postgraphile)]),
      line('Sessiongraph', ours, describeGoal(workload.goal, goalMet)),
    ];
  });
  return formatTable(head, lines);
}
