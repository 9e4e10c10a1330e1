import pg from 'pg';
import { type PostgresSettings, toClientConfig } from './connection-url.ts';
import type { Executor, Transactor } from './database.ts';
import { TYPE_PARSERS } from './driver/row-builder.ts';
import { isDeadlock, withRetry } from './sql-state.ts';

/**
 * A connection outside the pool, for work that needs a session of its own: LISTEN, advisory locks, migrations, upkeep. It never
 * reconnects: once it is lost, no statement can be sent through it any more, so the next holder of its advisory lock never meets late
 * statements of this one. One statement or transaction at a time.
 */
export interface DedicatedConnection extends Transactor {
  /** The driver's client. Its values are the driver's: bigint columns are strings. */
  readonly client: QueryClient;
  /** Aborts when the connection is lost or closed; its reason is the error. The statement under way then fails. */
  readonly lost: AbortSignal;
  /** Closes the connection, after one second even if Postgres does not answer. Later calls change nothing. */
  close(): Promise<void>;
  /** Closes the connection now: the statement under way fails and is rolled back. */
  cut(): void;
}

/** The part of the driver's client that sends statements and receives notifications. */
export type QueryClient = Pick<pg.Client, 'query' | 'on'>;

export interface DedicatedConnectionOptions {
  readonly url: string;
  /** The `application_name` in pg_stat_activity. */
  readonly name: string;
  /** Five seconds by default. */
  readonly connectTimeoutMs?: number;
  /** Postgres cancels a statement that runs longer; without it statements may take any time. */
  readonly statementTimeoutMs?: number;
  /**
   * Postgres ends the session, and releases its locks, if no statement arrives for this long: its process may be frozen or unreachable.
   * Without it the session may idle.
   */
  readonly idleTimeoutMs?: number;
  /** Settings that the URL may replace, besides `jit = off`. */
  readonly settings?: PostgresSettings;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** How much longer than its timeout a statement may take before the connection counts as dead. */
const SILENCE_GRACE_MS = 3_000;
const CLOSE_TIMEOUT_MS = 1_000;

/*
 * Makes Postgres notice within seconds that this process is gone, even in the middle of a statement. Some operating systems do not
 * support these settings; they are left out there.
 */
const DETECT_LOST_CLIENT = `do $$ begin perform set_config('client_connection_check_interval', '1s', false); exception when others then null; end $$;
  do $$ begin perform set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
    set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '15s', false); exception when others then null; end $$`;

/**
 * Connects.
 * @throws the error of pg if the database cannot be reached
 */
export async function openDedicatedConnection(options: DedicatedConnectionOptions): Promise<DedicatedConnection> {
  const { url, name, statementTimeoutMs, idleTimeoutMs, connectTimeoutMs = CONNECT_TIMEOUT_MS, settings } = options;
  const idleSettings: PostgresSettings = idleTimeoutMs === undefined ? {} : { idle_session_timeout: idleTimeoutMs };
  const client = new pg.Client({
    ...toClientConfig(url, { jit: 'off', ...idleSettings, ...settings }),
    application_name: name,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs === undefined ? undefined : statementTimeoutMs + SILENCE_GRACE_MS,
    idle_in_transaction_session_timeout: idleTimeoutMs,
    keepAlive: true,
  });
  const lost = new AbortController();
  let closing: Promise<void> | null = null;
  const cut = () => {
    lost.abort(new Error('The connection was closed.'));
    client.connection.stream.destroy();
  };
  client.on('error', error => lost.abort(error));
  client.on('end', () => lost.abort(new Error('The connection has ended.')));
  try {
    await client.connect();
    await client.query(DETECT_LOST_CLIENT);
  } catch (error) {
    cut();
    throw error;
  }

  async function send<Row>(query: pg.QueryConfig): Promise<Row[]> {
    try {
      const { rows } = await client.query({ ...query, types: TYPE_PARSERS });
      return rows;
    } catch (error) {
      // Only a refusal of this one statement (severity ERROR) leaves the session in a known state.
      if (!(error instanceof pg.DatabaseError && error.severity === 'ERROR')) cut();
      throw error;
    }
  }

  const executor: Executor = { rows: ({ text, values }) => send({ text, values: [...values] }) };

  async function runTransaction<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result> {
    await send({ text: 'begin' });
    try {
      const result = await work(executor);
      await send({ text: 'commit' });
      return result;
    } catch (error) {
      // If the rollback fails, the connection is cut, which rolls back too.
      if (!lost.signal.aborted) await send({ text: 'rollback' }).catch(() => undefined);
      throw error;
    }
  }

  async function end(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>(resolve => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    if (!lost.signal.aborted) await Promise.race([client.end().catch(() => undefined), timeout]);
    clearTimeout(timer);
    cut();
  }

  return {
    ...executor,
    client,
    lost: lost.signal,
    cut,
    transaction: work => withRetry(() => runTransaction(work), isDeadlock),
    close() {
      closing ??= end();
      return closing;
    },
  };
}

/**
 * Runs work on a connection of its own, which is closed when the work ends.
 * @throws the error of pg if the database cannot be reached; what the work throws
 */
export async function withDedicatedConnection<Result>(
  options: DedicatedConnectionOptions,
  work: (connection: DedicatedConnection) => Promise<Result>,
): Promise<Result> {
  const connection = await openDedicatedConnection(options);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
