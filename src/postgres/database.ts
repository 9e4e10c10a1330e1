import type { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import type { MemoryBudget } from './response-memory.ts';
import type { TraceDatabaseWork } from './tracing.ts';

/** A piece of SQL with its parameters. `Prisma.sql` builds it; pieces nest. */
export type Sql = Prisma.Sql;

/**
 * Marks the text of a statement that is worth a named prepared statement: it is sent often, and its best plan does not depend on its values.
 * Each connection keeps the 200 texts it has used last. Postgres plans it once only if its arrays are subqueries: `(select $1::uuid[])`.
 */
export const PREPARED = '/*prepared*/';

/** Sends statements: through the pool, in a transaction, or on a connection of its own. */
export interface Executor {
  /**
   * Sends one statement and returns its rows.
   * Types of values: bigint is a BigInt, timestamptz a Date, json is parsed, bytea a Buffer; numeric, enums and uuids are strings.
   * Cast arrays of bigint or enums, which the driver does not convert: `scopes::text[]`.
   */
  rows<Row>(statement: Sql): Promise<Row[]>;
}

/** Something that also runs transactions. */
export interface Transactor extends Executor {
  /**
   * Runs work in one READ COMMITTED transaction: committed when it resolves, rolled back when it throws.
   * A transaction of the pool fails with SERVICE_UNAVAILABLE if it takes longer than the statement timeout.
   * If Postgres breaks a deadlock with it, it runs again, up to five times: work must have no effect but its statements.
   */
  transaction<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result>;
}

/** Makes all work part of an open transaction: it is committed, rolled back and retried with it. */
export function joinTransaction(transaction: Executor): Transactor {
  return { rows: statement => transaction.rows(statement), transaction: work => work(transaction) };
}

/** A statement as it was sent. */
export interface RecordedStatement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** The state of the pool, for metrics. */
export interface PoolGauges {
  readonly total: number;
  readonly idle: number;
  /** Callers that wait for a connection. */
  readonly waiting: number;
}

/** The models of `schema.prisma`, for ordinary reads and writes that share no transaction with an event. */
export type Models = Pick<PrismaClient, 'apiKey'>;

/**
 * One Postgres, reached through one pool of connections. A statement outside a transaction is retried like a transaction if Postgres breaks
 * a deadlock with it.
 */
export interface Database extends Transactor {
  /** Prisma's models, on the same pool. */
  readonly models: Models;
  /** Calls the listener with every statement sent from now on, except BEGIN, COMMIT and ROLLBACK. @returns the function that removes it */
  onStatement(listener: (statement: RecordedStatement) => void): () => void;
  /** Whether Postgres responds now. Uses a connection outside the pool: a busy pool does not mean that Postgres is unreachable. */
  isReachable(): Promise<boolean>;
  gauges(): PoolGauges;
  readonly trace: TraceDatabaseWork;
  /** The database as one operation reads it; all rows are charged to the budget. */
  forOperation(budget: MemoryBudget): OperationReads;
  close(): Promise<void>;
}

/**
 * The reads of one operation. At most three statements run at once, so that one operation cannot take all connections of the pool; once
 * the budget has refused, no further statement is sent.
 */
export interface OperationReads extends Executor {
  readonly budget: MemoryBudget;
  /**
   * Runs another read as one of the three statements. Do not nest calls: they could wait for each other.
   * @throws as the budget
   */
  limited<Result>(read: () => Promise<Result>): Promise<Result>;
}
