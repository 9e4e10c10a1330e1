import { Socket } from 'node:net';
import pg from 'pg';
import { toClientConfig } from '../connection-url.ts';
import type { MemoryBudget, ResponseMemory } from '../response-memory.ts';
import { PreparedStatements } from './prepared-statements.ts';
import { RowsQuery, type Statement } from './rows-query.ts';

export interface PoolOptions {
  readonly url: string;
  /** The most connections at once. */
  readonly poolSize: number;
  /** Postgres cancels a statement that runs longer. */
  readonly statementTimeoutMs: number;
  /** How long a caller waits for a connection of the pool, or for a new one; five seconds by default. */
  readonly connectTimeoutMs?: number;
  /** Called when a connection is lost while idle. The pool replaces it when it is next needed. */
  readonly onConnectionError: (error: Error) => void;
  /** Bounds the rows of every statement; without it they are not bounded. */
  readonly memory?: ResponseMemory;
}

/** A connection checked out of the pool. */
export interface PooledConnection {
  /**
   * Sends a statement and returns its rows.
   * @param budget the budget that the received bytes count towards; by default each connection has its own
   * @throws the error of pg; DomainError if the budget is exceeded, which also closes the connection
   */
  query<Row>(statement: Statement, budget?: MemoryBudget): Promise<Row[]>;
  /** Whether a statement failed in a way that leaves the session in an unknown state: nothing more can be sent. */
  isBroken(): boolean;
  /** Returns the connection to the pool; a broken one is closed. */
  release(): void;
}

/** The one pool of connections to a Postgres. */
export interface ConnectionPool {
  /** For Prisma's driver adapter. */
  readonly pg: pg.Pool;
  /** @throws the error of pg if no connection is free in time */
  connect(): Promise<PooledConnection>;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** How much longer than its timeout a statement may take before its connection counts as dead. */
const SILENCE_GRACE_MS = 3_000;

/** JIT compilation costs more than any of our statements; hashing a set of ids needs some memory. */
const DEFAULT_SETTINGS = { jit: 'off', work_mem: '32MB' };

/** Opens the pool. It connects when a connection is first needed. */
export function createConnectionPool(options: PoolOptions): ConnectionPool {
  const pool = new pg.Pool({
    ...toClientConfig(options.url, DEFAULT_SETTINGS),
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    statement_timeout: options.statementTimeoutMs,
    idle_in_transaction_session_timeout: options.statementTimeoutMs,
    application_name: 'sessiongraph',
  });
  pool.on('error', options.onConnectionError);
  // pg removes its own listener while a connection passes to its next user. An 'error' event without a listener would crash the process.
  pool.on('connect', client => client.on('error', () => undefined));
  closeSilentConnections(pool, options.statementTimeoutMs + SILENCE_GRACE_MS);
  const received = meterReceivedBytes(pool, options.memory);
  const preparedOf = new WeakMap<pg.PoolClient, PreparedStatements>();
  pool.on('connect', client => preparedOf.set(client, new PreparedStatements()));
  return {
    pg: pool,
    async connect() {
      const client = await pool.connect();
      const prepared = preparedOf.get(client) ?? new PreparedStatements();
      let isBroken = false;
      return {
        async query<Row>(statement: Statement, budget?: MemoryBudget) {
          const meter = received.get(client);
          const refusal = meter?.begin(budget);
          try {
            const rows = await new Promise<Row[]>((resolve, reject) => {
              client.query(new RowsQuery<Row>(statement, prepared, resolve, reject));
            });
            // The last chunk may exceed the budget, and pg then still resolves.
            if (refusal?.reason != null) throw refusal.reason;
            return rows;
          } catch (error) {
            isBroken ||= !(error instanceof pg.DatabaseError && error.severity === 'ERROR');
            throw refusal?.reason ?? error;
          } finally {
            meter?.end();
          }
        },
        isBroken: () => isBroken,
        release: () => client.release(isBroken),
      };
    },
  };
}

/**
 * Closes a connection in use on which nothing has arrived for this long. Postgres cancels a statement that takes too long and says so. If
 * it does not, the server is gone, and the operating system would keep the connection open for many minutes.
 */
function closeSilentConnections(pool: pg.Pool, silenceMs: number): void {
  const setTimeoutOf = (client: pg.PoolClient, milliseconds: number) => {
    const { stream } = client.connection;
    if (stream instanceof Socket) stream.setTimeout(milliseconds);
  };
  pool.on('connect', client => {
    const { stream } = client.connection;
    stream.on('timeout', () => stream.destroy(Object.assign(new Error('The database does not answer.'), { code: 'ETIMEDOUT' })));
  });
  pool.on('acquire', client => setTimeoutOf(client, silenceMs));
  pool.on('release', (_error, client) => setTimeoutOf(client, 0));
}

/** Counts the bytes that a connection receives towards the budget of its current statement. */
interface ReceivedBytes {
  /** Starts a statement. @returns an object whose `reason` becomes the budget's error if the statement exceeds it */
  begin(budget: MemoryBudget | undefined): { readonly reason: Error | null };
  end(): void;
}

/**
 * Watches each connection's socket. A statement whose rows exceed the budget is stopped by closing its connection: pg keeps all rows
 * until the last one has arrived, and one value may be larger than the budget.
 */
function meterReceivedBytes(pool: pg.Pool, memory: ResponseMemory | undefined): WeakMap<pg.PoolClient, ReceivedBytes> {
  const meters = new WeakMap<pg.PoolClient, ReceivedBytes>();
  if (memory === undefined) return meters;
  pool.on('connect', client => {
    const { stream } = client.connection;
    const ownBudget = memory.openBudget();
    let budget = ownBudget;
    let refusal: { reason: Error | null } = { reason: null };
    // Ahead of pg's own listener, which resolves the statement with its last chunk.
    stream.prependListener('data', (chunk: Buffer) => {
      if (stream.destroyed) return;
      try {
        budget.addRead(chunk.length);
      } catch (error) {
        refusal.reason = error instanceof Error ? error : new Error(String(error));
        stream.destroy(refusal.reason);
      }
    });
    // Prisma sends its statements without `begin` and `end`.
    client.connection.on('readyForQuery', () => ownBudget.release());
    stream.once('close', () => ownBudget.release());
    meters.set(client, {
      begin(given) {
        budget = given ?? ownBudget;
        refusal = { reason: null };
        return refusal;
      },
      end() {
        budget = ownBudget;
      },
    });
  });
  return meters;
}
