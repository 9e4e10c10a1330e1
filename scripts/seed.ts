import { parseArgs } from 'node:util';
import pg from 'pg';
import { ConfigError, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/open-database.ts';
import { StartError } from '../src/errors.ts';
import { createLog } from '../src/log.ts';
import { parseConnectionUrl } from '../src/postgres/connection-url.ts';
import { writeSessions } from './seed/seed-writer.ts';
import { generateSessions } from './seed/session-generator.ts';

const USAGE = `npm run seed -- [--sessions N] [--messages N] [--seed N] [--until INSTANT]

Fills the database with believable sessions of several agents.

  --sessions N     how many sessions (default 1000)
  --messages N     how many messages each has (default 50)
  --seed N         other sessions with other ids (default 1)
  --until INSTANT  the present of the data, all of which lies in the 30 days before it;
                   default: now, down to the full hour

The same four values give the same ids and content. Ids depend on --seed and the number of the session alone, and a
session that is there already is left as it is: a second run adds nothing, a larger --sessions adds the rest.
`;

const HOUR = 3_600_000;
const MAX_SESSIONS = 1_000_000;
const MAX_MESSAGES = 100_000;
const MAX_SEED = 1_000_000;

/** A fault of the command line, for people. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface SeedArguments {
  readonly help: boolean;
  readonly sessions: number;
  readonly messages: number;
  readonly seed: number;
  readonly until: Date;
}

function readArguments(words: readonly string[], now: Date): SeedArguments {
  let values: { help?: boolean; sessions?: string; messages?: string; seed?: string; until?: string };
  try {
    ({ values } = parseArgs({
      args: [...words],
      options: {
        help: { type: 'boolean', short: 'h' },
        sessions: { type: 'string' },
        messages: { type: 'string' },
        seed: { type: 'string' },
        until: { type: 'string' },
      },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  return {
    help: values.help ?? false,
    sessions: wholeNumber('--sessions', values.sessions ?? '1000', MAX_SESSIONS),
    messages: wholeNumber('--messages', values.messages ?? '50', MAX_MESSAGES),
    seed: wholeNumber('--seed', values.seed ?? '1', MAX_SEED),
    until: values.until === undefined ? new Date(Math.floor(now.getTime() / HOUR) * HOUR) : instant('--until', values.until),
  };
}

function wholeNumber(option: string, text: string, highest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= highest)) throw new UsageError(`${option} must be a whole number from 0 to ${highest}, not "${text}".`);
  return value;
}

function instant(option: string, text: string): Date {
  const value = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}/.test(text) || Number.isNaN(value.getTime())) {
    throw new UsageError(`${option} must be an instant such as 2026-02-12T20:00:00Z, not "${text}".`);
  }
  return value;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(): Promise<void> {
  const options = readArguments(process.argv.slice(2), new Date());
  if (options.help) return print(USAGE.trimEnd());
  const config = readConfig();
  const database = await openDatabaseForCommand(config.database, createLog(config.logLevel), 'seed');
  try {
    const client = new pg.Client({
      connectionString: parseConnectionUrl(database.url).connectionString,
      application_name: 'sessiongraph seed',
    });
    await client.connect();
    try {
      const keys = { defaultAgent: config.sessions.defaultAgent, mainKey: config.sessions.mainKey };
      const started = performance.now();
      const report = await writeSessions(client, generateSessions({ ...options, keys }), keys, ({ sessions, skipped }) => {
        if (process.stderr.isTTY) process.stderr.write(`\r${sessions + skipped} of ${options.sessions} sessions`);
      });
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
      const seconds = ((performance.now() - started) / 1_000).toFixed(1);
      print(`Database: ${database.description}`);
      print(
        `Wrote ${report.sessions} sessions with ${report.messages} messages in ${seconds} s (seed ${options.seed}, until ${options.until.toISOString()}).`,
      );
      if (report.skipped > 0) print(`Left as they were: ${report.skipped} sessions, there already or removed for good.`);
      if (report.namesDropped > 0)
        print(`Without key or label: ${report.namesDropped} sessions, as another session of the agent holds it.`);
      print(`
Next, in GraphiQL at the address the server prints (npm start, unless it runs already):

  { sessions(first: 5, filter: { status: { eq: ACTIVE } }) { totalCount nodes { title agentId messageCount } } }
  { searchMessages(query: "quokka OR narwhal", first: 5) { nodes { content session { title } } } }`);
    } finally {
      await client.end();
    }
  } finally {
    await database.close();
  }
}

try {
  await main();
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`${error.message}\n\n${USAGE}`);
  else if (error instanceof ConfigError || error instanceof StartError) process.stderr.write(`${error.message}\n`);
  else throw error;
  process.exitCode = 1;
}
