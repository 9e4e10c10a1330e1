import { createHash } from 'node:crypto';
import { PrismaPg } from '@prisma/adapter-pg';
import { LRUCache } from 'lru-cache';
import pLimit, { type LimitFunction } from 'p-limit';
import { PrismaClient } from '../generated/prisma/client.ts';
import { createConnectionPool, type PooledConnection, type PoolOptions } from './connection-pool.ts';
import { parseConnectionUrl } from './connection-url.ts';
import { type Database, type Executor, PREPARED, type RecordedStatement, type Sql } from './database.ts';
import { ReconnectingConnection } from './reconnecting-connection.ts';
import type { MemoryBudget } from './response-memory.ts';
import { isDeadlock, withRetry } from './sql-state.ts';
import { createDatabaseTracing, summarizeStatement, type Tracer } from './tracing.ts';

export interface DatabaseOptions extends PoolOptions {
  /** Nothing is traced without one. */
  readonly tracer?: Tracer;
}

/** The most statements of one operation at once. */
const MAX_STATEMENTS = 3;

const PROBE_TIMEOUT_MS = 2_000;

/** The least recently used text above this number loses its name, so that a mistake of ours cannot fill every connection with names. */
const MAX_PREPARED = 500;

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
  const trace = createDatabaseTracing(options.tracer, parseConnectionUrl(options.url).database);
  const nameOf = createStatementNames();
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool.pg), log: [{ emit: 'event', level: 'query' }] });
  prisma.$on('query', ({ query, params }) => {
    const parameters: unknown = JSON.parse(params);
    for (const listener of listeners) listener({ sql: query, parameters: Array.isArray(parameters) ? parameters : [] });
  });

  async function send<Row>(connection: PooledConnection, { text, values }: Sql, budget?: MemoryBudget): Promise<Row[]> {
    for (const listener of listeners) listener({ sql: text, parameters: values });
    const { rows } = await connection.query({ name: nameOf(text), text, values }, budget);
    return rows;
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
      isDeadlock,
    );

  async function runTransaction<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result> {
    return withConnection(async connection => {
      await connection.query({ text: 'begin' });
      try {
        const result = await work({
          rows: <Row>(statement: Sql) =>
            trace(
              () => send<Row>(connection, statement),
              () => ({ kind: 'client', name: summarizeStatement(statement.text) }),
            ),
        });
        await connection.query({ text: 'commit' });
        return result;
      } catch (error) {
        if (!connection.isBroken()) await connection.query({ text: 'rollback' });
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
        isDeadlock,
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
    forOperation(budget) {
      let limit: LimitFunction | undefined;
      function limited<Result>(read: () => Promise<Result>): Promise<Result> {
        limit ??= pLimit(MAX_STATEMENTS);
        return limit(() => {
          // Throws if the budget has refused meanwhile.
          budget.addRead(0);
          return read();
        });
      }
      return { budget, limited, rows: statement => limited(() => rows(statement, budget)) };
    },
    async close() {
      await prisma.$disconnect();
      await Promise.all([pool.pg.end(), probe.close()]);
    },
  };
}

/** Returns the function that names prepared statements: a name for a marked text, the same on every connection; undefined for any other. */
function createStatementNames(): (text: string) => string | undefined {
  const names = new LRUCache<string, string>({ max: MAX_PREPARED });
  return text => {
    if (!text.startsWith(PREPARED)) return undefined;
    const known = names.get(text);
    if (known !== undefined) return known;
    const name = `sg_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
    names.set(text, name);
    return name;
  };
}
