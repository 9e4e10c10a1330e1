import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { readConfig } from '../src/config.ts';
import { createLog } from '../src/log.ts';
import { withDedicatedConnection } from '../src/postgres/dedicated-connection.ts';
import { type BenchArguments, readBenchArguments, USAGE } from './bench/bench-arguments.ts';
import { type ChildServer, startChildServer } from './bench/child-server.ts';
import { addManySessions, type DeepPageResult, findCursors, formatDeepPages, measureDeepPages } from './bench/deep-pages.ts';
import { createLiveWorkloads, formatLiveTable, type LiveResult, measureLive } from './bench/live-workload.ts';
import { formatResults, measure, type WorkloadResult } from './bench/measurement.ts';
import { formatMemory, type MemoryResult, measureMemory } from './bench/memory-workload.ts';
import { createPostgraphileTables, readPostgraphileCursors, startPostgraphile } from './bench/postgraphile.ts';
import { postgresCpuMs } from './bench/process-cpu.ts';
import { createScratchDatabase, type Defer, type ScratchDatabase } from './bench/scratch-database.ts';
import { createWorkloads } from './bench/workload.ts';
import { CommandError, runCommand } from './command-line.ts';

const DEEP_SESSIONS = 1_000_000;
const POOL_SIZE = 20;

/** Standard output has only the result. */
function printProgress(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function run(words: readonly string[]): Promise<void> {
  const options = readBenchArguments(words);
  // A path that cannot be written must not cost a whole run.
  if (options.json !== null) writeFileSync(options.json, '');
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
  const report: Report = { results: [], live: [], deepPages: null, memory: null };
  const isChosen = ({ name }: { readonly name: string }) => options.work.includes(name);
  const workloads = createWorkloads(database.material, options.clients);
  if (workloads.some(isChosen)) {
    const servers = { raw: await start('raw-server'), ours: await start('sessiongraph-server') };
    const postgraphile = options.withPostgraphile ? await preparePostgraphile(database, defer) : null;
    const chosen = postgraphile === null ? workloads : createWorkloads(postgraphile.material, options.clients);
    const { pathname } = new URL(database.url);
    for (const workload of chosen.filter(isChosen)) {
      printProgress(`${workload.name} ${workload.title} ...`);
      const measured = { ...servers, ...(postgraphile === null ? {} : { postgraphile: postgraphile.server }) };
      report.results.push(await measure(workload, measured, options.plan, () => postgresCpuMs(pathname.slice(1))));
    }
  }
  for (const workload of createLiveWorkloads().filter(isChosen)) {
    printProgress(`${workload.name} ${workload.title} ...`);
    const server = await startChildServer('sessiongraph-server', settings);
    try {
      report.live.push(await measureLive(workload, server, database.url));
    } finally {
      await server.close();
    }
  }
  if (options.work.includes('memory')) {
    printProgress(`memory under a mixed load of ${options.memorySeconds} s ...`);
    report.memory = await measureMemory(
      await start('sessiongraph-server'),
      workloads,
      database.material.openSessionIds,
      options.memorySeconds,
    );
  }
  if (options.work.includes('W9')) {
    printProgress(`W9 adding sessions until there are ${DEEP_SESSIONS} ...`);
    report.deepPages = await measureAmongMany(database, await start('sessiongraph-server'));
  }
  const machine = `Node ${process.versions.node}, ${database.description}, ${cpus().length} cores, ${options.sessions} sessions x ${options.messages} messages`;
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(toJson(machine, report), null, 2)}\n`);
  process.stdout.write(`${[machine, ...tables(report)].join('\n\n')}\n`);
}

/** What a run has measured. */
interface Report {
  readonly results: WorkloadResult[];
  readonly live: LiveResult[];
  deepPages: readonly DeepPageResult[] | null;
  memory: MemoryResult | null;
}

async function preparePostgraphile(database: ScratchDatabase, defer: Defer) {
  printProgress('Starting PostGraphile ...');
  await withDedicatedConnection({ url: database.url, name: 'sessiongraph bench' }, ({ client }) => createPostgraphileTables(client));
  const server = await startPostgraphile(database.url, POOL_SIZE, defer);
  const postgraphileCursors = await readPostgraphileCursors(server.port, database.material.places.length);
  return { server, material: { ...database.material, postgraphileCursors } };
}

async function measureAmongMany(database: ScratchDatabase, server: ChildServer): Promise<readonly DeepPageResult[]> {
  const middle = Math.floor(DEEP_SESSIONS / 2);
  const cursors = await withDedicatedConnection({ url: database.url, name: 'sessiongraph bench' }, async ({ client }) => {
    await addManySessions(client, DEEP_SESSIONS);
    return findCursors(client, middle);
  });
  return measureDeepPages(server, cursors, middle);
}

function tables({ results, live, deepPages, memory }: Report): string[] {
  return [
    ...(results.length > 0 ? [formatResults(results)] : []),
    ...(live.length > 0 ? [formatLiveTable(live)] : []),
    ...(memory === null ? [] : [formatMemory(memory)]),
    ...(deepPages === null ? [] : [formatDeepPages(deepPages)]),
  ];
}

/** The commit of the sources; null outside a checkout. */
function commitOf(): string | null {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

function toJson(machine: string, { results, live, deepPages, memory }: Report) {
  return {
    commit: commitOf(),
    date: new Date().toISOString(),
    machine,
    platform: `${process.platform} ${process.arch}, ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GB`,
    results: results.map(({ workload, ...figures }) => ({
      name: workload.name,
      title: workload.title,
      clients: workload.clients.length,
      goal: workload.goal,
      ...figures,
    })),
    live: live.map(({ workload: { name, title, subscribers }, ...figures }) => ({ name, title, subscribers, ...figures })),
    deepPages,
    memory,
  };
}

await runCommand({ name: 'bench', usage: USAGE, run });
// After an interruption, the benchmark's promises are still pending.
process.exit();
