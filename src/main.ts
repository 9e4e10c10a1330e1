import { setTimeout as delay } from 'node:timers/promises';
import { type App, createApp, DRAIN_TIMEOUT_MS } from './app.ts';
import { type Config, ConfigError, readConfig, VERSION } from './config.ts';
import { openDatabase } from './embedded/open-database.ts';
import { errorCodeOf, reasonOf, StartError } from './errors.ts';
import { prepareEventPartitions } from './events/partitions.ts';
import { createLog, type Logger } from './log.ts';
import { migrate } from './postgres/migrations.ts';
import type { OpenTelemetry } from './server/observe/open-telemetry.ts';

/** What the end may take beyond the drain of requests. */
const GOODBYE_MS = 4_000;
/** npm hands on the signal that the terminal has sent to this process already: that is one press of Ctrl-C, not two. */
const ONE_PRESS_MS = 1_000;
const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** A request to stop that came while the start was under way. */
class StoppedError extends Error {}

/** Something the start opened; closed in the reverse order. */
interface Part {
  readonly name: string;
  close(): Promise<void>;
}

/** The life of the process: what it has opened so far, and its one way down. */
interface Life {
  /** Aborted when the end begins. */
  readonly signal: AbortSignal;
  /** Keeps a part to be closed; where the end has already begun, no next part is opened. @throws StoppedError */
  opened(part: Part): void;
  /** Told first when the end begins. */
  onStopping(listener: () => Promise<void>): void;
  /** Closes everything once and exits; later calls change nothing. */
  stop(exitCode: number): void;
}

function tell(text: string): void {
  process.stdout.write(`${text}\n`);
}

function complain(text: string): void {
  process.stderr.write(`\n${text}\n`);
}

/** @param mostMs an end that takes longer is cut short */
function createLife(log: Logger, mostMs: number, started: () => Promise<void>): Life {
  const parts: Part[] = [];
  const listeners: (() => Promise<void>)[] = [];
  const ending = new AbortController();
  const close = async ({ name, close }: Part) => {
    log.debug({ part: name }, 'closing');
    await close().catch(error => log.error({ err: error, part: name }, 'could not be closed'));
  };
  const drain = async () => {
    for (const listener of listeners) await listener().catch(error => log.error({ err: error }, 'could not announce the end'));
    await started();
    for (const part of parts.toReversed()) await close(part);
  };
  return {
    signal: ending.signal,
    opened(part) {
      parts.push(part);
      if (ending.signal.aborted) throw new StoppedError();
    },
    onStopping(listener) {
      listeners.push(listener);
    },
    stop(exitCode) {
      if (ending.signal.aborted) return;
      ending.abort();
      setTimeout(() => {
        complain(`Still not done after ${mostMs / 1_000} seconds: leaving at once.`);
        process.exit(1);
      }, mostMs);
      void drain().then(() => process.exit(exitCode));
    },
  };
}

async function start(config: Config, log: Logger, life: Life): Promise<void> {
  const tracing = await startTracing(config, log);
  if (tracing !== null) life.opened({ name: 'tracing', close: () => tracing.close() });
  const database = await openDatabase(config.database, log, life.signal);
  life.onStopping(() => database.drain());
  life.opened({ name: 'database', close: () => database.close() });
  void database.failed.then(reason => {
    complain(`The embedded Postgres ended without having been told to:\n${reason}`);
    life.stop(1);
  });
  const { applied } = await migrate(database.url);
  if (applied.length > 0) log.info({ applied }, 'applied migrations');
  await prepareEventPartitions({ url: database.url, retentionMs: config.events.retentionMs, log });
  const app = await createApp({ config, databaseUrl: database.url, log, tracer: tracing?.tracer });
  life.opened({ name: 'server', close: () => app.close() });
  life.onStopping(async () => {
    app.withdraw();
    await delay(config.drainDelayMs);
  });
  const { url } = await listen(app, config);
  if (app.isOpen()) log.info('authentication is off: every program on this machine may do everything');
  tell(welcome(new URL('/graphql', url), config, { data: database.description, isOpen: app.isOpen() }));
}

/** Null where no tracing is configured; its packages are not even loaded then. */
async function startTracing({ tracing }: Config, log: Logger): Promise<OpenTelemetry | null> {
  if (tracing === null) return null;
  const { startOpenTelemetry } = await import('./server/observe/open-telemetry.ts');
  return startOpenTelemetry({ settings: tracing, version: VERSION, log });
}

async function listen(app: App, { host, port }: Config): Promise<{ url: string }> {
  try {
    return await app.listen();
  } catch (error) {
    const problem = { EADDRINUSE: 'is in use by another program', EACCES: 'is not open to this user' }[errorCodeOf(error) ?? ''];
    if (problem === undefined) throw error;
    const other = port + 1 > 65_535 ? 4000 : Math.max(port + 1, 1_024);
    throw new StartError(`Port ${port} on ${host} ${problem}. Choose another port, for instance: PORT=${other} npm start`);
  }
}

function welcome(graphql: URL, config: Config, { data, isOpen }: { readonly data: string; readonly isOpen: boolean }): string {
  const socket = new URL(graphql);
  socket.protocol = 'ws:';
  const lines = [
    '',
    'Sessiongraph is ready.',
    '',
    `  GraphQL        ${graphql.href}${config.graphiql ? '   open it in a browser for GraphiQL' : ''}`,
    `  Subscriptions  ${socket.href}   or SSE on the address above`,
    `  Data           ${data}`,
    `  Access         ${isOpen ? 'open to every program on this machine; the first API key changes that' : 'with an API key'}`,
    '',
    'Next, in another terminal:',
    '',
    ...whereabouts(config),
    '  npm run seed                          sessions to play with',
    '  npm run import:openclaw -- <folder>   the sessions of an OpenClaw folder',
    '  npm run key -- create --name me --scope admin   an API key',
    '',
    'Ctrl-C stops everything.',
    '',
  ];
  return lines.join('\n');
}

/** What commands in another terminal must be told to find this database; an address may hold a password, and is only named. */
function whereabouts({ database: { url, dataFolder } }: Config): string[] {
  if (url !== null) return ['  export DATABASE_URL=…                 the same as of this server'];
  return dataFolder === null ? [] : [`  export SESSIONGRAPH_DATA='${dataFolder}'`];
}

function explain(error: unknown, log: Logger): void {
  if (error instanceof StartError) {
    complain(error.message);
    return;
  }
  complain(`Sessiongraph could not start: ${reasonOf(error)}`);
  log.debug({ err: error }, 'the start failed');
}

function run(config: Config): void {
  const log = createLog(config.logLevel);
  let started: Promise<void> = Promise.resolve();
  const life = createLife(log, config.drainDelayMs + DRAIN_TIMEOUT_MS + GOODBYE_MS, () => started);
  let firstPress: number | null = null;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const now = performance.now();
      if (firstPress === null) {
        firstPress = now;
        tell('Stopping ...');
        life.stop(0);
      } else if (now - firstPress > ONE_PRESS_MS) process.exit(1);
    });
  }
  // The terminal or the reader of our output may be gone before us.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, event);
      life.stop(1);
    });
  }
  started = start(config, log, life).catch(error => {
    // What fails after the end has begun fails because of it.
    if (life.signal.aborted) return;
    explain(error, log);
    life.stop(1);
  });
}

try {
  run(readConfig());
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  complain(error.message);
  process.exitCode = 1;
}
