import { PrismaPg } from '@prisma/adapter-pg';
import { DomainError } from '../errors.ts';
import { PrismaClient } from '../generated/prisma/client.ts';
import { parseConnectionUrl } from './connection-url.ts';
import { type Database, type Executor, type OperationReads, PREPARED, type RecordedStatement, type Sql } from './database.ts';
import { createConnectionPool, type PooledConnection, type PoolOptions } from './driver/connection-pool.ts';
import { ReconnectingConnection } from './reconnecting-connection.ts';
import type { MemoryBudget } from './response-memory.ts';
import { isDeadlock, isStaleStatement, withRetry } from './sql-state.ts';
import { createDatabaseTracing, summarizeStatement, type Tracer } from './tracing.ts';

export interface DatabaseOptions extends PoolOptions {
  /** Whether the texts marked with `PREPARED` become named prepared statements. `auto`, the default: unless the URL says `pgbouncer=true`. */
  readonly prepared?: 'auto' | 'on' | 'off';
  /** Nothing is traced without one. */
  readonly tracer?: Tracer;
}

const PROBE_TIMEOUT_MS = 2_000;

function isRetryable(error: unknown): boolean {
  return isDeadlock(error) || isStaleStatement(error);
}

/** Opens the database. It connects when a connection is first needed. */
export function createDatabase(options: DatabaseOptions): Database {
  const pool = createConnectionPool(options);
  const probe = new ReconnectingConnection({
    url: options.url,
    name: 'sessiongraph probe',
    log: { warn: () => undefined },
    connectTimeoutMs: PROBE_TIMEOUT_MS,
    statementTimeoutMs: PROBE_TIMEOUT_MS,
  });
  const listeners = new Set<(statement: RecordedStatement) => void>();
  const { database, isPgBouncer } = parseConnectionUrl(options.url);
  const trace = createDatabaseTracing(options.tracer, database);
  const { prepared = 'auto' } = options;
  const usesNames = prepared === 'on' || (prepared === 'auto' && !isPgBouncer);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool.pg), log: [{ emit: 'event', level: 'query' }] });
  prisma.$on('query', ({ query, params }) => {
    if (listeners.size === 0) return;
    const parameters: unknown = JSON.parse(params);
    for (const listener of listeners) listener({ sql: query, parameters: Array.isArray(parameters) ? parameters : [] });
  });

  async function send<Row>(connection: PooledConnection, { text, values }: Sql, budget?: MemoryBudget): Promise<Row[]> {
    for (const listener of listeners) listener({ sql: text, parameters: values });
    return connection.query<Row>({ text, values, isPrepared: usesNames && text.startsWith(PREPARED) }, budget);
  }

  async function withConnection<Result>(work: (connection: PooledConnection) => Promise<Result>): Promise<Result> {
    const connection = await pool.connect();
    try {
      return await work(connection);
    } finally {
      connection.release();
    }
  }

  const rows = <Row>(statement: Sql, budget?: MemoryBudget): Promise<Row[]> =>
    withRetry(
      () =>
        trace(
          () => withConnection(connection => send<Row>(connection, statement, budget)),
          () => ({ kind: 'client', name: summarizeStatement(statement.text) }),
        ),
      isRetryable,
    );

  async function runTransaction<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result> {
    return withConnection(async connection => {
      const expiresAt = performance.now() + options.statementTimeoutMs;
      let hasEnded = false;
      const assertOpen = () => {
        // Work that failed may have other work running. Its statements must not run after the rollback, outside the transaction.
        if (hasEnded) throw new Error('The transaction has ended.');
        if (performance.now() > expiresAt) throw new DomainError('SERVICE_UNAVAILABLE', 'The transaction took too long. Try again.');
      };
      const sendInTransaction = async <Row>(statement: Sql) => {
        assertOpen();
        return send<Row>(connection, statement);
      };
      await connection.query({ text: 'begin' });
      try {
        const result = await work({
          rows: <Row>(statement: Sql) =>
            trace(
              () => sendInTransaction<Row>(statement),
              () => ({ kind: 'client', name: summarizeStatement(statement.text) }),
            ),
        });
        assertOpen();
        hasEnded = true;
        await connection.query({ text: 'commit' });
        return result;
      } catch (error) {
        hasEnded = true;
        // If the rollback fails, the connection is closed, which rolls back too.
        if (!connection.isBroken()) await connection.query({ text: 'rollback' }).catch(() => undefined);
        throw error;
      }
    });
  }

  return {
    rows: statement => rows(statement),
    transaction: work =>
      withRetry(
        () =>
          trace(
            () => runTransaction(work),
            () => ({ kind: 'internal', name: 'transaction' }),
          ),
        isRetryable,
      ),
    models: prisma,
    trace,
    onStatement(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isReachable: () =>
      probe.query('select 1').then(
        () => true,
        () => false,
      ),
    gauges: () => ({ total: pool.pg.totalCount, idle: pool.pg.idleCount, waiting: pool.pg.waitingCount }),
    forOperation: budget => new PooledOperationReads(budget, rows),
    async close() {
      await prisma.$disconnect();
      await Promise.all([pool.pg.end(), probe.close()]);
    },
  };
}

/** The most statements of one operation at once. */
const MAX_STATEMENTS = 3;

/** Counts the running statements itself: a limiter made for each operation takes longer than all else here, and most send one statement. */
class PooledOperationReads implements OperationReads {
  readonly budget: MemoryBudget;
  readonly #send: <Row>(statement: Sql, budget: MemoryBudget) => Promise<Row[]>;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(budget: MemoryBudget, send: <Row>(statement: Sql, budget: MemoryBudget) => Promise<Row[]>) {
    this.budget = budget;
    this.#send = send;
  }

  rows<Row>(statement: Sql): Promise<Row[]> {
    return this.limited(() => this.#send<Row>(statement, this.budget));
  }

  async limited<Result>(read: () => Promise<Result>): Promise<Result> {
    if (this.#running < MAX_STATEMENTS) this.#running += 1;
    else await new Promise<void>(resolve => this.#waiting.push(resolve));
    try {
      // Throws if the budget was exceeded in the meantime.
      this.budget.addRead(0);
      return await read();
    } finally {
      // The operation may have ended, with an error, before this statement. Nobody else releases the bytes that came afterwards.
      if (this.budget.isReleased()) this.budget.release();
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
