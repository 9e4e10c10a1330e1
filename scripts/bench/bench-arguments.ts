import { parseWords, readWholeNumber, UsageError } from '../command-line.ts';
import type { MeasurementPlan } from './measurement.ts';
import { type ClientCounts, DEFAULT_CLIENTS } from './workload.ts';

/** With fewer sessions there might be no open session to append to. */
const MIN_SESSIONS = 300;

/** Those that are measured if none is named. W9 and memory take minutes. */
const DEFAULT_WORK: readonly string[] = ['T0', 'W4', 'W1', 'W3', 'W2', 'W5', 'W6d', 'W6h', 'W8'];
const WORK: readonly string[] = [...DEFAULT_WORK, 'W9', 'memory'];

/** The text of `--help`. */
export const USAGE = `npm run bench -- [--quick] [--work NAMES] [--with postgraphile] [--rounds N] [--seconds S] [--connections N]
  [--sessions N] [--messages N] [--json FILE]

Compares the server with a baseline: node:http, prepared statements and hand-written JSON. Both use the same database,
which is created for the run and dropped after it: on the Postgres of DATABASE_URL, or on a temporary Postgres.
Only the ratios within one run are comparable. docs/performance.md describes the workloads.

  --quick              1,000 sessions and short rounds
  --work NAMES         some workloads, separated by commas: ${WORK.join(', ')}
                       (default: all but W9 and memory)
  --with postgraphile  measures PostGraphile 5 too; npm installs it into a cache folder once
  --rounds N           rounds of each server (default 3)
  --seconds S          length of a round (default 1.5), or of the whole load of memory (default 600)
  --connections N      clients that read at the same time (default ${DEFAULT_CLIENTS.readers}); ${DEFAULT_CLIENTS.writers} append
  --sessions N         number of sessions, at least ${MIN_SESSIONS} (default 20000)
  --messages N         messages in each session (default 50)
  --json FILE          also writes the results to this file, with the commit and the machine
`;

const FULL: MeasurementPlan = { rounds: 3, roundMs: 1_500, warmUpMs: 2_000 };
/** The warm-up stays long: until Node has compiled its code, the larger server is slower than it is later. */
const QUICK: MeasurementPlan = { rounds: 2, roundMs: 400, warmUpMs: 800 };
const MEMORY_SECONDS = 600;
const MAX_COUNT = 9_999_999;

/** What to measure, and how. */
export interface BenchArguments {
  readonly json: string | null;
  readonly work: readonly string[];
  readonly withPostgraphile: boolean;
  readonly sessions: number;
  readonly messages: number;
  readonly plan: MeasurementPlan;
  readonly clients: ClientCounts;
  readonly memorySeconds: number;
}

/** @throws UsageError for an unknown option or a value out of range */
export function readBenchArguments(words: readonly string[]): BenchArguments {
  const { values } = parseWords({
    args: [...words],
    options: {
      quick: { type: 'boolean' },
      work: { type: 'string' },
      with: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      json: { type: 'string' },
      sessions: { type: 'string' },
      messages: { type: 'string' },
    },
  });
  const work = values.work?.split(',') ?? DEFAULT_WORK;
  const unknown = work.find(name => !WORK.includes(name));
  if (unknown !== undefined) throw new UsageError(`--work must name some of ${WORK.join(', ')}; got "${unknown}".`);
  if (values.with !== undefined && values.with !== 'postgraphile') {
    throw new UsageError(`--with must be postgraphile; got "${values.with}".`);
  }
  const seconds = values.seconds === undefined ? null : Number(values.seconds);
  if (seconds !== null && !(seconds >= 0.1 && seconds <= 3_600)) {
    throw new UsageError(`--seconds must be a number from 0.1 to 3600; got "${values.seconds}".`);
  }
  const plan = values.quick ? QUICK : FULL;
  return {
    json: values.json ?? null,
    work,
    withPostgraphile: values.with !== undefined,
    sessions: readWholeNumber('--sessions', values.sessions ?? (values.quick ? '1000' : '20000'), MIN_SESSIONS, MAX_COUNT),
    messages: readWholeNumber('--messages', values.messages ?? '50', 1, MAX_COUNT),
    plan: {
      ...plan,
      rounds: readWholeNumber('--rounds', values.rounds ?? String(plan.rounds), 1, 100),
      roundMs: seconds === null ? plan.roundMs : seconds * 1_000,
    },
    clients: {
      ...DEFAULT_CLIENTS,
      readers: readWholeNumber('--connections', values.connections ?? String(DEFAULT_CLIENTS.readers), 1, 1_000),
    },
    memorySeconds: seconds ?? MEMORY_SECONDS,
  };
}
