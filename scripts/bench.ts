import { cpus } from 'node:os';
import { readConfig } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { startChildServer } from './bench/child-server.ts';
import { createLiveWorkloads, formatLiveTable, type LiveResult, measureLive } from './bench/live-workload.ts';
import { formatResults, type MeasurementPlan, measure, type WorkloadResult } from './bench/measurement.ts';
import { createScratchDatabase, type Defer } from './bench/scratch-database.ts';
import { createWorkloads } from './bench/workload.ts';
import { CommandError, parseWords, readWholeNumber, runCommand, UsageError } from './command-line.ts';

/** With fewer sessions there might be no open session to append to. */
const MIN_SESSIONS = 300;

const WORKLOADS: readonly string[] = ['W1', 'W2', 'W3', 'W4', 'W5', 'W6d', 'W6h', 'W8'];

const USAGE = `npm run bench -- [--quick] [--sessions N] [--messages N] [--only NAME] [--json]

Compares the server with a baseline: node:http, prepared statements and hand-written JSON. Both use the same database,
which is created for the run and dropped after it: on the Postgres of DATABASE_URL, or on a temporary Postgres.
Only the ratios within one run are comparable. W8 (live events) has no baseline: its figures depend on the machine.

  --quick       1,000 sessions and short rounds
  --sessions N  number of sessions, at least ${MIN_SESSIONS} (default 20000)
  --messages N  messages in each session (default 50)
  --only NAME   one workload: ${WORKLOADS.join(', ')}
  --json        print JSON instead of the table
`;

const FULL: MeasurementPlan = { rounds: 3, roundMs: 1_500, warmUpMs: 1_000 };
/** The warm-up stays long: until Node has compiled its code, the larger server is slower than it is later. */
const QUICK: MeasurementPlan = { rounds: 2, roundMs: 400, warmUpMs: 800 };
const POOL_SIZE = 20;
const MAX_COUNT = 9_999_999;

interface BenchArguments {
  readonly json: boolean;
  readonly only: string | null;
  readonly sessions: number;
  readonly messages: number;
  readonly plan: MeasurementPlan;
}

/** @throws UsageError */
function readArguments(words: readonly string[]): BenchArguments {
  const { values } = parseWords({
    args: [...words],
    options: {
      quick: { type: 'boolean' },
      json: { type: 'boolean' },
      only: { type: 'string' },
      sessions: { type: 'string' },
      messages: { type: 'string' },
    },
  });
  if (values.only !== undefined && !WORKLOADS.includes(values.only)) {
    throw new UsageError(`--only must be one of ${WORKLOADS.join(', ')}; got "${values.only}".`);
  }
  return {
    json: values.json ?? false,
    only: values.only ?? null,
    sessions: readWholeNumber('--sessions', values.sessions ?? (values.quick ? '1000' : '20000'), MIN_SESSIONS, MAX_COUNT),
    messages: readWholeNumber('--messages', values.messages ?? '50', 1, MAX_COUNT),
    plan: values.quick ? QUICK : FULL,
  };
}

/** Standard output has only the result. */
function printProgress(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function run(words: readonly string[]): Promise<void> {
  const options = readArguments(words);
  const cleanUps: (() => Promise<unknown>)[] = [];
  try {
    await Promise.race([runBenchmark(options, cleanUp => cleanUps.push(cleanUp)), interrupted()]);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** Rejects at the first signal to stop. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => reject(new CommandError(`Stopped by ${signal}.`)));
  });
}

async function runBenchmark(options: BenchArguments, defer: Defer): Promise<void> {
  printProgress(`Creating a database with ${options.sessions} sessions with ${options.messages} messages each ...`);
  const started = performance.now();
  const database = await createScratchDatabase(readConfig(), createLog('error'), options, defer);
  printProgress(`  done in ${((performance.now() - started) / 1_000).toFixed(0)} s`);

  const settings = { databaseUrl: database.url, poolSize: POOL_SIZE };
  const start = async (name: string) => {
    const server = await startChildServer(name, settings);
    defer(() => server.close());
    return server;
  };
  const results: WorkloadResult[] = [];
  const chosen = createWorkloads(database.material).filter(({ name }) => options.only === null || name === options.only);
  if (chosen.length > 0) {
    const servers = { raw: await start('raw-server'), ours: await start('sessiongraph-server') };
    for (const workload of chosen) {
      printProgress(`${workload.name} ${workload.title} ...`);
      results.push(await measure(workload, servers, options.plan));
    }
  }
  const liveResults: LiveResult[] = [];
  for (const workload of createLiveWorkloads()) {
    if (options.only !== null && workload.name !== options.only) continue;
    printProgress(`${workload.name} ${workload.title} ...`);
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

await runCommand({ name: 'bench', usage: USAGE, run });
// After an interruption, the benchmark's promises are still pending.
process.exit();
