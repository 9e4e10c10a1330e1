import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { ConfigError, readConfig } from '../src/config.ts';
import { StartError } from '../src/errors.ts';
import { createLog } from '../src/log.ts';
import { startChildServer } from './bench/child-server.ts';
import { createLiveWorkloads, formatLiveTable, type LiveResult, measureLive } from './bench/live-workload.ts';
import { formatResults, type MeasurementPlan, measure, type WorkloadResult } from './bench/measurement.ts';
import { createScratchDatabase, type Defer } from './bench/scratch-database.ts';
import { createWorkloads } from './bench/workload.ts';

const WORKLOADS: readonly string[] = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6d', 'W6h', 'W8'];

const USAGE = `npm run bench -- [--quick] [--sessions N] [--messages N] [--only NAME] [--json]

Measures the server against a raw baseline beside it (node:http and prepared statements, the JSON built by hand) over
the same database, which is made for the run and dropped after it: on the server of DATABASE_URL, else on a Postgres of
its own. Only the ratios of one run mean anything. W8, live events, has no baseline: its figures are those of the machine.

  --quick       1,000 sessions and short rounds
  --sessions N  default 20000, at least 300
  --messages N  of each session, default 50
  --only NAME   one workload: ${WORKLOADS.join(', ')}
  --json        print JSON in place of the table
`;

const FULL: MeasurementPlan = { rounds: 3, roundMs: 1_500, warmUpMs: 1_000 };
/** The warm-up stays long: measured before its code is compiled, the larger server looks slower than it is. */
const QUICK: MeasurementPlan = { rounds: 2, roundMs: 400, warmUpMs: 800 };
const POOL_SIZE = 20;
/** Below that there might be no open session to append to. */
const FEWEST_SESSIONS = 300;

/** A fault of the command line, for people. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

interface BenchArguments {
  readonly help: boolean;
  readonly json: boolean;
  readonly only: string | null;
  readonly sessions: number;
  readonly messages: number;
  readonly plan: MeasurementPlan;
}

function readArguments(words: readonly string[]): BenchArguments {
  let values: { help?: boolean; quick?: boolean; json?: boolean; only?: string; sessions?: string; messages?: string };
  try {
    ({ values } = parseArgs({
      args: [...words],
      options: {
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean' },
        json: { type: 'boolean' },
        only: { type: 'string' },
        sessions: { type: 'string' },
        messages: { type: 'string' },
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  return {
    help: values.help ?? false,
    json: values.json ?? false,
    only: values.only === undefined ? null : workloadName('--only', values.only),
    sessions: wholeNumber('--sessions', values.sessions ?? (values.quick ? '1000' : '20000'), FEWEST_SESSIONS),
    messages: wholeNumber('--messages', values.messages ?? '50', 1),
    plan: values.quick ? QUICK : FULL,
  };
}

function workloadName(option: string, text: string): string {
  if (!WORKLOADS.includes(text)) throw new UsageError(`${option} must be one of ${WORKLOADS.join(', ')}, not "${text}".`);
  return text;
}

function wholeNumber(option: string, text: string, lowest: number): number {
  const value = /^\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= lowest)) throw new UsageError(`${option} must be a whole number from ${lowest} up, not "${text}".`);
  return value;
}

/** Progress goes to standard error, so that standard output is the result alone. */
function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<void> {
  const options = readArguments(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const cleanUps: (() => Promise<unknown>)[] = [];
  try {
    await Promise.race([run(options, cleanUp => cleanUps.push(cleanUp)), interrupted()]);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** Rejects when the run is told to stop. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => reject(new InterruptedError(`Stopped by ${signal}.`)));
  });
}

async function run(options: BenchArguments, defer: Defer): Promise<void> {
  tell(`Making a database of ${options.sessions} sessions with ${options.messages} messages each ...`);
  const started = performance.now();
  const database = await createScratchDatabase(readConfig(), createLog('error'), options, defer);
  tell(`  done in ${((performance.now() - started) / 1_000).toFixed(0)} s`);

  const settings = { databaseUrl: database.url, poolSize: POOL_SIZE };
  const start = async (name: string) => {
    const server = await startChildServer(name, settings);
    defer(() => server.close());
    return server;
  };
  const results: WorkloadResult[] = [];
  const wanted = createWorkloads(database.material).filter(({ name }) => options.only === null || name === options.only);
  if (wanted.length > 0) {
    const servers = { raw: await start('raw-server'), ours: await start('sessiongraph-server') };
    for (const workload of wanted) {
      tell(`${workload.name} ${workload.title} ...`);
      results.push(await measure(workload, servers, options.plan));
    }
  }
  const liveResults: LiveResult[] = [];
  for (const workload of createLiveWorkloads()) {
    if (options.only !== null && workload.name !== options.only) continue;
    tell(`${workload.name} ${workload.title} ...`);
    const server = await startChildServer('sessiongraph-server', settings);
    try {
      liveResults.push(await measureLive(workload, server, database.url));
    } finally {
      await server.close();
    }
  }
  const machine = `Node ${process.versions.node}, ${database.description}, ${cpus().length} cores, ${options.sessions} sessions x ${options.messages} messages`;
  if (options.json)
    process.stdout.write(`${JSON.stringify({ machine, results: toJson(results), live: liveToJson(liveResults) }, null, 2)}\n`);
  else process.stdout.write(`${[machine, ...tables(results, liveResults)].join('\n\n')}\n`);
}

function tables(results: readonly WorkloadResult[], liveResults: readonly LiveResult[]): string[] {
  return [...(results.length > 0 ? [formatResults(results)] : []), ...(liveResults.length > 0 ? [formatLiveTable(liveResults)] : [])];
}

function toJson(results: readonly WorkloadResult[]) {
  return results.map(({ workload, raw, ours, ratio, goalMet }) => ({
    name: workload.name,
    title: workload.title,
    clients: workload.clients.length,
    goal: workload.goal,
    goalMet,
    ratio,
    ours,
    raw,
  }));
}

function liveToJson(results: readonly LiveResult[]) {
  return results.map(({ workload: { name, title, subscribers }, ...figures }) => ({ name, title, subscribers, ...figures }));
}

try {
  await main();
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`${error.message}\n\n${USAGE}`);
  else if (error instanceof ConfigError || error instanceof StartError || error instanceof InterruptedError)
    process.stderr.write(`${error.message}\n`);
  else throw error;
  process.exitCode = 1;
}
// What an interrupted run was about to do is of no use any more.
process.exit();
