import { randomInt } from 'node:crypto';
import { type Config, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { reasonOf } from '../src/errors.ts';
import { createEventLog } from '../src/events/event-log.ts';
import { createLog, type Logger } from '../src/log.ts';
import { CallsInFlight } from '../src/modules/idempotency/calls-in-flight.service.ts';
import { LOCAL_VIEWER } from '../src/modules/viewer/viewer.rules.ts';
import { type DedicatedConnection, withDedicatedConnection } from '../src/postgres/dedicated-connection.ts';
import { createDatabase } from '../src/postgres/pooled-database.ts';
import { toDatabaseFailure } from '../src/postgres/sql-state.ts';
import { CommandError, parseWords, readWholeNumber, runCommand, UsageError } from './command-line.ts';
import { LIVE_SESSIONS, runLiveSeed } from './seed/live-seed.ts';
import { createRandomSource } from './seed/random-source.ts';
import { hasAnyOf, writeSessions } from './seed/seed-writer.ts';
import { generateSessions, type SeedSession } from './seed/session-generator.ts';

const USAGE = `npm run seed -- [--sessions N] [--messages N] [--seed N] [--until INSTANT] [--live [--pace N]]

Fills the database with believable sessions of several agents.

  --sessions N     number of sessions (default 1000)
  --messages N     messages in each session (default 50)
  --seed N         another number gives other sessions with other ids (default 1)
  --until INSTANT  all data lies in the 30 days before this instant, such as 2026-02-12T20:00:00Z
                   (default: the last full hour)
  --live           keep ${LIVE_SESSIONS} sessions going until Ctrl-C: messages, changes, new and ending sessions.
                   Seeds first if the database has no sessions of this seed. To watch them, run npm start first.
  --pace N         changes per second with --live (default 1)

The same --sessions, --messages, --seed and --until give the same sessions. A second run changes nothing that exists:
it only adds the missing sessions. No session claims to be at work, except with --live.
`;

const HOUR_MS = 3_600_000;
const MAX_SESSIONS = 1_000_000;
const MAX_MESSAGES = 100_000;
const MAX_SEED = 1_000_000;
const MAX_PACE = 1_000;
/** Enough sessions to find out whether a seed was written before. */
const PROBED_SESSIONS = 20;
/** One Ctrl-C may arrive twice: from the terminal and from npm. A signal after this time is a second Ctrl-C. */
const SAME_SIGNAL_MS = 1_000;

interface SeedArguments {
  readonly sessions: number;
  readonly messages: number;
  readonly seed: number;
  readonly until: Date;
  readonly live: boolean;
  readonly pace: number;
}

function readArguments(words: readonly string[], now: Date): SeedArguments {
  const { values } = parseWords({
    args: [...words],
    options: {
      sessions: { type: 'string' },
      messages: { type: 'string' },
      seed: { type: 'string' },
      until: { type: 'string' },
      live: { type: 'boolean' },
      pace: { type: 'string' },
    },
  });
  if (values.pace !== undefined && values.live !== true) throw new UsageError('--pace needs --live.');
  return {
    sessions: readWholeNumber('--sessions', values.sessions ?? '1000', 0, MAX_SESSIONS),
    messages: readWholeNumber('--messages', values.messages ?? '50', 0, MAX_MESSAGES),
    seed: readWholeNumber('--seed', values.seed ?? '1', 0, MAX_SEED),
    until: values.until === undefined ? new Date(Math.floor(now.getTime() / HOUR_MS) * HOUR_MS) : instant('--until', values.until),
    live: values.live ?? false,
    pace: readWholeNumber('--pace', values.pace ?? '1', 1, MAX_PACE),
  };
}

function instant(option: string, text: string): Date {
  const value = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}/.test(text) || Number.isNaN(value.getTime())) {
    throw new UsageError(`${option} must be an instant such as 2026-02-12T20:00:00Z; got "${text}".`);
  }
  return value;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function run(words: readonly string[]): Promise<void> {
  const options = readArguments(words, new Date());
  const config = readConfig();
  const log = createLog(config.logLevel);
  const stopped = options.live ? onStopSignal() : null;
  const database = await openDatabaseForCommand(config.database, log, 'seed', { exitOnSignal: stopped === null });
  print(`Database: ${database.description}`);
  try {
    await withDedicatedConnection({ url: database.url, name: 'sessiongraph seed' }, connection =>
      seed(connection, options, config, stopped),
    );
    if (stopped === null) printNextSteps();
    else if (!stopped.aborted) await runLive(database.url, options, config, log, stopped);
  } catch (error) {
    if (toDatabaseFailure(error) === null) throw error;
    throw new CommandError(`The connection to the database was lost (${reasonOf(error)}). Start the database and run this command again.`);
  } finally {
    await database.close();
  }
}

/** Aborts at the first signal to stop. A second one ends the process. */
function onStopSignal(): AbortSignal {
  const stop = new AbortController();
  const signals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const abort = () => {
    stop.abort();
    setTimeout(() => {
      for (const signal of signals) process.off(signal, abort);
    }, SAME_SIGNAL_MS).unref();
  };
  for (const signal of signals) process.on(signal, abort);
  return stop.signal;
}

async function seed({ client }: DedicatedConnection, options: SeedArguments, config: Config, stopped: AbortSignal | null): Promise<void> {
  const keys = { defaultAgent: config.sessions.defaultAgent, mainKey: config.sessions.mainKey };
  if (options.live && (await hasAnyOf(client, [...generateSessions({ ...options, keys, sessions: PROBED_SESSIONS, messages: 0 })]))) {
    return print(`The database has sessions of seed ${options.seed} already.`);
  }
  const started = performance.now();
  const sessions = untilAborted(generateSessions({ ...options, keys }), stopped);
  const report = await writeSessions(client, sessions, keys, ({ sessions, skipped }) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${sessions + skipped} of ${options.sessions} sessions`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  print(
    `Wrote ${report.sessions} sessions with ${report.messages} messages in ${seconds} s (seed ${options.seed}, until ${options.until.toISOString()}).`,
  );
  if (report.skipped > 0) print(`Skipped ${report.skipped} sessions: they exist already or were permanently deleted.`);
  if (report.namesDropped > 0)
    print(`Wrote ${report.namesDropped} sessions without key or label: another session of the agent holds the same one.`);
}

function* untilAborted(sessions: Iterable<SeedSession>, signal: AbortSignal | null): Generator<SeedSession> {
  for (const session of sessions) {
    if (signal?.aborted === true) return;
    yield session;
  }
}

async function runLive(url: string, { pace, seed }: SeedArguments, config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  print(`
Live: ${LIVE_SESSIONS} sessions, about ${pace === 1 ? 'one change' : `${pace} changes`} per second. Watch them in GraphiQL:

  subscription { sessionEvents { __typename session { title status messageCount } } }

Ctrl-C ends these sessions and stops.`);
  // Like every server, this process has an event log, which announces each change to the other servers.
  const events = await createEventLog({ url, log });
  const database = createDatabase({
    url,
    poolSize: 2,
    statementTimeoutMs: config.limits.requestTimeoutMs,
    onConnectionError: error => log.warn({ error: error.message }, 'lost a connection to Postgres'),
  });
  try {
    const { sessions: settings } = config;
    const eventsWritten = () => events.wake();
    const { models } = database;
    const caller = {
      viewer: LOCAL_VIEWER,
      database,
      models,
      settings,
      eventsWritten,
      callsInFlight: new CallsInFlight(),
      appendQueue: null,
    };
    const random = createRandomSource(seed, randomInt(2 ** 31));
    const changes = await runLiveSeed({ caller, random, changesPerSecond: pace, signal });
    print(`Stopped after ${changes} changes.`);
  } finally {
    await events.close();
    await database.close();
  }
}

function printNextSteps(): void {
  print(`
Next, in GraphiQL at the address that the server prints (npm start, unless it is running already):

  { sessions(first: 5, filter: { status: { eq: ACTIVE } }) { totalCount nodes { title agentId messageCount } } }
  { searchMessages(query: "quokka OR narwhal", first: 5) { nodes { content session { title } } } }

To see sessions change: npm run seed -- --live`);
}

await runCommand({ name: 'seed', usage: USAGE, run });
