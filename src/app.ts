import type { Config } from './config.ts';
import { createContextFactory } from './context.ts';
import { createPostgresBus } from './events/bus/postgres-bus.ts';
import { createRedisBus } from './events/bus/redis-bus.ts';
import { createEventLog, type EventLog } from './events/event-log.ts';
import type { Logger } from './log.ts';
import type { Database } from './postgres/database.ts';
import { createDatabase } from './postgres/pooled-database.ts';
import { createResponseMemory } from './postgres/response-memory.ts';
import type { Tracer } from './postgres/tracing.ts';
import { createSchema } from './schema.ts';
import { createAuthenticator } from './server/auth/authenticate.ts';
import { createTokenVerifier } from './server/auth/authenticate-token.ts';
import { createKeyRegistry } from './server/auth/key-registry.ts';
import { createRateLimiter } from './server/auth/rate-limiter.ts';
import { loadPersistedDocuments } from './server/graphql/persisted-documents.ts';
import { createHttpServer } from './server/http/http-server.ts';
import { createMetrics } from './server/observe/metrics.ts';
import { createSweepTasks } from './sweeper/sweep-tasks.ts';
import { startSweeper } from './sweeper/sweeper.ts';

/** A running application on a migrated database. */
export interface App {
  readonly database: Database;
  readonly events: EventLog;
  /**
   * Starts to accept connections on the configured host and port.
   * @returns the server's address, without a path
   * @throws Node's error, such as EADDRINUSE
   */
  listen(): Promise<{ readonly url: string }>;
  /** Makes `/readyz` answer 503 while requests are still served. Call `close` afterwards. */
  withdraw(): void;
  /** True while authentication is off. */
  isOpen(): boolean;
  /** Lets requests finish, ends streams, then closes the database. */
  close(): Promise<void>;
}

export interface AppOptions {
  readonly config: Config;
  /** A migrated Postgres. */
  readonly databaseUrl: string;
  readonly log: Logger;
  /** How long a request waits for a database connection, in milliseconds; five seconds by default. */
  readonly connectTimeoutMs?: number;
  /** Nothing is traced without one. */
  readonly tracer?: Tracer;
}

/** The longest drain: connections that are still open after this long are closed. */
export const DRAIN_TIMEOUT_MS = 8_000;

/**
 * Assembles the application.
 * @throws StartError if the trusted documents cannot be read or AUTH=off contradicts existing keys; the error of pg if the database cannot
 * be reached
 */
export async function createApp(options: AppOptions): Promise<App> {
  const opened: Part[] = [];
  try {
    return await assemble(options, opened);
  } catch (error) {
    await closeAll(opened).catch(failure => options.log.warn({ err: failure }, 'closing failed after the start had failed'));
    throw error;
  }
}

/** A part of the application that holds connections or timers. */
interface Part {
  close(): Promise<void>;
}

/** Closes the parts in reverse order, also if some fail. @throws the first error */
async function closeAll(parts: readonly Part[]): Promise<void> {
  const failures: unknown[] = [];
  for (const part of parts.toReversed()) await part.close().catch(failure => failures.push(failure));
  if (failures.length > 0) throw failures[0];
}

/** @param opened each part is added to it as soon as it is open */
async function assemble({ config, databaseUrl, connectTimeoutMs, log, tracer }: AppOptions, opened: Part[]): Promise<App> {
  const open = <Opened extends Part>(part: Opened): Opened => {
    opened.push(part);
    return part;
  };
  const documents = await loadPersistedDocuments(config.persisted);
  const memory = createResponseMemory(config.limits.maxResponseBytes);
  const database = open(
    createDatabase({
      url: databaseUrl,
      poolSize: config.database.poolSize,
      prepared: config.database.prepared,
      statementTimeoutMs: config.limits.requestTimeoutMs,
      connectTimeoutMs,
      tracer,
      memory,
      onConnectionError: error => log.warn({ error: error.message }, 'lost a connection to Postgres'),
    }),
  );
  const keys = open(await createKeyRegistry({ url: databaseUrl, log }));
  const tokens = config.auth.jwt === null ? null : createTokenVerifier(config.auth.jwt);
  const authenticator = createAuthenticator({ auth: config.auth, keys, tokens });
  const openBus =
    config.redisUrl === null
      ? createPostgresBus({ url: databaseUrl, log })
      : createRedisBus({ redisUrl: config.redisUrl, databaseUrl, log });
  const events = open(await createEventLog({ url: databaseUrl, log, openBus }));
  const rateLimiter = open(createRateLimiter({ limits: config.rateLimits, redisUrl: config.redisUrl, log }));
  const metrics = createMetrics({ pool: () => database.gauges(), events: () => events.gauges() });
  const server = createHttpServer({
    schema: createSchema(),
    createContext: createContextFactory({ config, database, events, rateLimiter, log, memory }),
    authenticator,
    config,
    log,
    isReady: () => database.isReachable(),
    documents,
    memory,
    tracer,
    rateLimiter,
    metrics,
    // Enough events at once to share statements, but few enough that requests soon get a connection when many subscribers are behind.
    maxConcurrentEvents: 4 * config.database.poolSize,
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
  });
  const stopSweeper = startSweeper({
    url: databaseUrl,
    tasks: createSweepTasks({ config, eventsWritten: () => events.wake(), log }),
    observer: metrics.sweeps,
    log,
  });
  return {
    database,
    events,
    isOpen: () => authenticator.isOpen(),
    listen: async () => ({ url: await server.listen(config.port, config.host) }),
    withdraw: () => server.withdraw(),
    async close() {
      // The sweeper stops now, so that another server can take over while this one drains.
      await Promise.all([server.close(), stopSweeper()]);
      await closeAll(opened);
    },
  };
}
