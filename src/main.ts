import { setTimeout as delay } from 'node:timers/promises';
import { type App, createApp, DRAIN_TIMEOUT_MS } from './app.ts';
import { type Config, ConfigError, readConfig, VERSION } from './config.ts';
import { openDatabase } from './embedded/open-database.ts';
import { errorCodeOf, reasonOf, StartError } from './errors.ts';
import { prepareEventPartitions } from './events/partitions.ts';
import { createLog, type Logger } from './log.ts';
import { migrate } from './postgres/migrations.ts';
import type { OpenTelemetry } from './server/observe/open-telemetry.ts';

/** Time for the shutdown after requests have drained. */
const CLEAN_UP_MS = 4_000;

/**
 * A second signal within this time is ignored. One press of Ctrl-C can cause two: the terminal signals all processes, and npm forwards the
 * signal to its child.
 */
const REPEATED_SIGNAL_MS = 1_000;

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Interrupts the start if a signal stops the server while it starts. */
class StoppedError extends Error {}

/** A part of the running server, such as its database. */
interface Part {
  readonly name: string;
  close(): Promise<void>;
}

/** Shuts the process down in order, and only once. */
interface Shutdown {
  /** Aborts when the shutdown begins. */
  readonly signal: AbortSignal;
  /** Adds a part that has been opened. Parts are closed in reverse order. @throws StoppedError if the shutdown has begun */
  addPart(part: Part): void;
  /** Adds a step that runs before parts are closed. */
  addFirstStep(step: () => Promise<void>): void;
  /** Closes all parts and exits. Later calls do nothing. */
  begin(exitCode: number): void;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function printError(text: string): void {
  process.stderr.write(`\n${text}\n`);
}

/**
 * @param timeoutMs the process exits if the shutdown takes longer
 * @param startFinished resolves when the start has finished or failed; parts are closed after that
 */
function createShutdown(log: Logger, timeoutMs: number, startFinished: () => Promise<void>): Shutdown {
  const parts: Part[] = [];
  const firstSteps: (() => Promise<void>)[] = [];
  const begun = new AbortController();

  async function closePart({ name, close }: Part): Promise<void> {
    log.debug({ part: name }, 'closing');
    await close().catch(error => log.error({ err: error, part: name }, 'closing failed'));
  }

  async function run(): Promise<void> {
    for (const step of firstSteps) await step().catch(error => log.error({ err: error }, 'a step before closing failed'));
    await startFinished();
    for (const part of parts.toReversed()) await closePart(part);
  }

  return {
    signal: begun.signal,
    addPart(part) {
      parts.push(part);
      if (begun.signal.aborted) throw new StoppedError();
    },
    addFirstStep(step) {
      firstSteps.push(step);
    },
    begin(exitCode) {
      if (begun.signal.aborted) return;
      begun.abort();
      setTimeout(() => {
        printError(`The shutdown did not finish within ${timeoutMs / 1_000} seconds. Exiting now.`);
        process.exit(1);
      }, timeoutMs);
      void run().then(() => process.exit(exitCode));
    },
  };
}

async function start(config: Config, log: Logger, shutdown: Shutdown): Promise<void> {
  const tracing = await startTracing(config, log);
  if (tracing !== null) shutdown.addPart({ name: 'tracing', close: () => tracing.close() });
  const database = await openDatabase(config.database, log, shutdown.signal);
  shutdown.addFirstStep(() => database.drain());
  shutdown.addPart({ name: 'database', close: () => database.close() });
  void database.failed.then(reason => {
    printError(`The embedded Postgres ended unexpectedly:\n${reason}`);
    shutdown.begin(1);
  });
  const { applied } = await migrate(database.url);
  if (applied.length > 0) log.info({ applied }, 'applied migrations');
  await prepareEventPartitions({ url: database.url, retentionMs: config.events.retentionMs, log });
  const app = await createApp({ config, databaseUrl: database.url, log, tracer: tracing?.tracer });
  shutdown.addPart({ name: 'server', close: () => app.close() });
  shutdown.addFirstStep(async () => {
    app.withdraw();
    await delay(config.drainDelayMs);
  });
  const { url } = await listen(app, config);
  if (app.isOpen()) log.info('authentication is off: every program on this machine may do everything');
  print(startBanner(new URL('/graphql', url), config, { data: database.description, isOpen: app.isOpen() }));
}

/** Null if tracing is not configured. Only this function loads its packages. */
async function startTracing({ tracing }: Config, log: Logger): Promise<OpenTelemetry | null> {
  if (tracing === null) return null;
  const { startOpenTelemetry } = await import('./server/observe/open-telemetry.ts');
  return startOpenTelemetry({ settings: tracing, version: VERSION, log });
}

async function listen(app: App, { host, port }: Config): Promise<{ url: string }> {
  try {
    return await app.listen();
  } catch (error) {
    const problem = { EADDRINUSE: 'is in use by another program', EACCES: 'needs more privileges' }[errorCodeOf(error) ?? ''];
    if (problem === undefined) throw error;
    const otherPort = port + 1 > 65_535 ? 4000 : Math.max(port + 1, 1_024);
    throw new StartError(`Port ${port} on ${host} ${problem}. Choose another port, for example: PORT=${otherPort} npm start`);
  }
}

function startBanner(graphql: URL, config: Config, { data, isOpen }: { readonly data: string; readonly isOpen: boolean }): string {
  const webSocket = new URL(graphql);
  webSocket.protocol = 'ws:';
  const credentials = config.auth.jwt === null ? 'an API key' : 'an API key or a token';
  const lines = [
    '',
    'Sessiongraph is ready.',
    '',
    `  GraphQL        ${graphql.href}${config.graphiql ? '   open it in a browser for GraphiQL' : ''}`,
    `  Subscriptions  ${webSocket.href}   or SSE at the address above`,
    `  Data           ${data}`,
    `  Access         ${isOpen ? 'open to every program on this machine, until you create the first API key' : `with ${credentials}`}`,
    '',
    'Next, in another terminal:',
    '',
    ...environmentOfCommands(config),
    '  npm run seed                                    creates sample sessions',
    '  npm run import:openclaw -- <folder>             imports the sessions of an OpenClaw folder',
    '  npm run key -- create --name me --scope admin   creates an API key',
    '',
    'Press Ctrl-C to stop the server.',
    '',
  ];
  return lines.join('\n');
}

/** The variables that commands in another terminal need to find the same database. DATABASE_URL may contain a password, so it is not shown. */
function environmentOfCommands({ database: { url, dataFolder } }: Config): string[] {
  if (url !== null) return ['  export DATABASE_URL=…                           the same as for this server'];
  return dataFolder === null ? [] : [`  export SESSIONGRAPH_DATA='${dataFolder}'`];
}

function reportStartFailure(error: unknown, log: Logger): void {
  if (error instanceof StartError) {
    printError(error.message);
    return;
  }
  printError(`Sessiongraph could not start: ${reasonOf(error)}`);
  log.debug({ err: error }, 'the start failed');
}

function run(config: Config): void {
  const log = createLog(config.logLevel);
  let started: Promise<void> = Promise.resolve();
  const shutdown = createShutdown(log, config.drainDelayMs + DRAIN_TIMEOUT_MS + CLEAN_UP_MS, () => started);
  let firstSignalAt: number | null = null;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const now = performance.now();
      if (firstSignalAt === null) {
        firstSignalAt = now;
        print('Stopping ...');
        shutdown.begin(0);
      } else if (now - firstSignalAt > REPEATED_SIGNAL_MS) process.exit(1);
    });
  }
  // The terminal, or the program that reads the output, may close before this process ends.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, event);
      shutdown.begin(1);
    });
  }
  started = start(config, log, shutdown).catch(error => {
    // Errors after the shutdown has begun are caused by it.
    if (shutdown.signal.aborted) return;
    reportStartFailure(error, log);
    shutdown.begin(1);
  });
}

try {
  run(readConfig());
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  printError(error.message);
  process.exitCode = 1;
}
