import { createHash } from 'node:crypto';
import { Socket } from 'node:net';
import { PrismaPg } from '@prisma/adapter-pg';
import pLimit, { type LimitFunction } from 'p-limit';
import pg from 'pg';
import type { DomainError } from '../errors.ts';
import { Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { type AnswerMemory, type AnswerShare, answerRefusal } from './answer-memory.ts';
import { summarizeStatement } from './statement-summary.ts';
import type { SpanAttributes, Tracer } from './tracer.ts';
import { sizeOf } from './value-size.ts';

/** A piece of SQL with its parameters; `Prisma.sql` builds it, pieces nest. */
export type Sql = Prisma.Sql;

/** Begins the text of a statement that is worth a named prepared statement: its texts form a small closed set. */
export const PREPARED = '/*prepared*/';

/** More texts than this are a fault of ours: they then go unnamed rather than fill every connection. */
const MAX_PREPARED = 500;

/** Something statements can be sent to: the pool, or one transaction. */
export interface Executor {
  /**
   * Sends one statement and gives its rows.
   * Values are as Prisma reads them: bigint as BigInt, timestamptz as Date, json parsed, enums and uuids as strings.
   */
  rows<Row>(statement: Sql): Promise<Row[]>;
}

/** One statement as it was sent. */
export interface RecordedStatement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** What services write to: the pool, or a transaction they are to be part of. */
export interface Transactor extends Executor {
  /**
   * Runs work in one READ COMMITTED transaction: committed when it resolves, rolled back when it throws.
   * Run anew, a few times, where the server broke a deadlock with it: work must have no effect but its statements.
   */
  transaction<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result>;
}

/** How the pool stands, for metrics. */
export interface PoolGauges {
  readonly total: number;
  readonly idle: number;
  /** Those that want a connection and have none. */
  readonly waiting: number;
}

/** The pool of connections to one Postgres, through Prisma. A statement of its own is a transaction, and run anew like one. */
export interface Database extends Transactor {
  /** Calls the listener with every statement sent from now on, BEGIN and COMMIT aside; returns the function that stops it. */
  onStatement(listener: (statement: RecordedStatement) => void): () => void;
  /** Whether the server answers now, asked on a connection of its own: a busy pool is no answer. */
  isReachable(): Promise<boolean>;
  gauges(): PoolGauges;
  /**
   * The same database for one operation, which holds in its share what its rows take; small results are not worth measuring.
   * Its `rows` rejects as the share throws, and sends a few statements at once, so that one operation can neither take all connections nor read
   * far more than its share before that is known. Statements of transactions are not held.
   */
  holding(share: AnswerShare): HoldingDatabase;
  close(): Promise<void>;
}

/** The database as one operation reads it. */
export interface HoldingDatabase extends Database {
  /**
   * Reads in another way, as one of the few statements at once; not to be called within itself.
   * @throws as the share, where the operation has read too much already
   */
  inTurn<Result>(read: () => Promise<Result>): Promise<Result>;
}

export interface DatabaseOptions {
  readonly url: string;
  /** Most connections at once. */
  readonly poolSize: number;
  /** A statement running longer is ended by the server. */
  readonly statementTimeoutMs: number;
  /** Whoever has no connection after so many milliseconds, of the pool or a new one, is refused; five seconds by default. */
  readonly connectTimeoutMs?: number;
  /** Told of connections lost while idle; they are replaced when next needed. */
  readonly onConnectionError: (error: Error) => void;
  /** Left out, nothing is traced. */
  readonly tracer?: Tracer;
  /** A statement whose rows take more is ended; left out, none is. */
  readonly answers?: AnswerMemory;
}

/** Makes all work part of a transaction that is open: it is committed or rolled back with it, and run anew with it. */
export function joinTransaction(transaction: Executor): Transactor {
  return { rows: statement => transaction.rows(statement), transaction: work => work(transaction) };
}

const CONNECT_TIMEOUT_MS = 5_000;
const PROBE_TIMEOUT_MS = 2_000;
/** What all connections together have read meanwhile is at least what one statement has: so little of it is not worth measuring. */
const UNMEASURED_BYTES = 64 * 1024;
/** Statements of one operation at once: with what it holds already, never more than all answers together may. */
const MAX_STATEMENTS = 3;
/** How much longer than a statement may take the server is waited for. */
const SILENCE_GRACE_MS = 3_000;

/** SQLSTATE deadlock_detected. */
const DEADLOCK = '40P01';
/** SQLSTATE lock_not_available. */
const LOCK_NOT_AVAILABLE = '55P03';
const MAX_ATTEMPTS = 4;

/**
 * Opens the pool; connections are made when first needed.
 * Every connection reads and writes instants in UTC, so that their texts can be taken apart (PERFORMANCE.md, 6).
 */
export function createDatabase(options: DatabaseOptions): Database {
  const { tracer } = options;
  const databaseName = new URL(options.url).pathname.slice(1);
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    statement_timeout: options.statementTimeoutMs,
    idle_in_transaction_session_timeout: options.statementTimeoutMs,
    // Compiling a plan costs more than all our statements take; sets of ids to be hashed need a little memory.
    options: '-c timezone=UTC -c default_transaction_isolation=read\\ committed -c jit=off -c work_mem=32MB',
    application_name: 'sessiongraph',
  });
  // Between its release and its next user's first listener a connection may hear of its end; unheard, that would end the process.
  pool.on('connect', client => client.on('error', () => undefined));
  giveUpSilent(pool, options.statementTimeoutMs + SILENCE_GRACE_MS);
  const received = countReceived(pool, options.answers);
  const probe = new pg.Pool({
    connectionString: options.url,
    max: 1,
    connectionTimeoutMillis: PROBE_TIMEOUT_MS,
    query_timeout: PROBE_TIMEOUT_MS,
    application_name: 'sessiongraph probe',
  });
  probe.on('error', options.onConnectionError);
  const adapter = new PrismaPg(pool, {
    disposeExternalPool: true,
    // pg takes no name for a statement that is not to be kept; the option's type does not say so.
    statementNameGenerator: createStatementNames() as (query: { sql: string }) => string,
    onPoolError: options.onConnectionError,
    onConnectionError: options.onConnectionError,
  });
  const prisma = new PrismaClient({ adapter });
  const listeners = new Set<(statement: RecordedStatement) => void>();
  const traced = <Result>(work: () => Promise<Result>, about: () => DatabaseWork): Promise<Result> =>
    tracer === undefined ? work() : traceWork(tracer, work, () => ({ ...about(), database: databaseName }));
  const executor = (client: Pick<typeof prisma, '$queryRaw'>): Executor => ({
    rows<Row>(statement: Sql): Promise<Row[]> {
      for (const listener of listeners) listener({ sql: statement.text, parameters: statement.values });
      if (tracer === undefined) return client.$queryRaw<Row[]>(statement);
      // Prisma sends a statement when it is awaited: that has to be within the span.
      return traced(
        async () => await client.$queryRaw<Row[]>(statement),
        () => ({ kind: 'client', name: summarizeStatement(statement.text) }),
      );
    },
  });
  const pooled = executor(prisma);
  const settle = async <Result>(run: () => Promise<Result>): Promise<Result> => {
    try {
      return await throughDeadlocks(run);
    } catch (error) {
      throw (options.answers && refusedAnswer(error, options.answers)) ?? error;
    }
  };
  const database: Database = {
    rows: statement => settle(() => pooled.rows(statement)),
    transaction(work) {
      const run = () =>
        prisma.$transaction(client => work(executor(client)), { maxWait: CONNECT_TIMEOUT_MS, timeout: options.statementTimeoutMs });
      return settle(() => traced(run, () => ({ kind: 'internal', name: 'transaction' })));
    },
    onStatement(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isReachable: () =>
      probe.query('select 1').then(
        () => true,
        () => false,
      ),
    gauges: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    holding(share) {
      let limit: LimitFunction | undefined;
      function inTurn<Result>(read: () => Promise<Result>): Promise<Result> {
        limit ??= pLimit(MAX_STATEMENTS);
        return limit(() => {
          // Once it has read too much it reads no more.
          share.read(0);
          return read();
        });
      }
      return {
        ...database,
        inTurn,
        rows<Row>(statement: Sql): Promise<Row[]> {
          return inTurn(async () => {
            const before = received.bytes;
            const rows = await database.rows<Row>(statement);
            if (received.bytes - before > UNMEASURED_BYTES) share.read(sizeOf(rows));
            return rows;
          });
        },
      };
    },
    async close() {
      await Promise.all([prisma.$disconnect(), probe.end()]);
    },
  };
  return database;
}

/** Runs a transaction anew where the server broke a deadlock with it: nothing of it has happened then. */
async function throughDeadlocks<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (sqlStateOf(error) !== DEADLOCK || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/** Work of the database as its span tells it. */
interface DatabaseWork {
  /** One statement, or a transaction around several. */
  readonly kind: 'client' | 'internal';
  readonly name: string;
}

/** Runs work in a span of its own, where something under way is traced; attributes are those of OpenTelemetry's conventions for databases. */
async function traceWork<Result>(
  tracer: Tracer,
  work: () => Promise<Result>,
  about: () => DatabaseWork & { readonly database: string },
): Promise<Result> {
  if (!tracer.isUnderWay()) return work();
  const { kind, name, database } = about();
  const span = tracer.beginChild(kind);
  const attributes: SpanAttributes = {
    'db.system.name': 'postgresql',
    'db.namespace': database,
    ...(kind === 'client' ? { 'db.query.summary': name } : {}),
  };
  try {
    const result = await span.within(work);
    span.end({ name, attributes, failed: false });
    return result;
  } catch (error) {
    const state = sqlStateOf(error);
    const failure: SpanAttributes = state === null ? {} : { 'db.response.status_code': state };
    const type = state ?? (error instanceof Error ? error.name : 'unknown');
    span.end({ name, attributes: { ...attributes, ...failure, 'error.type': type }, failed: true });
    throw error;
  }
}

/**
 * Cuts a connection in use on which nothing has come for so long. The server ends what takes too long, and says so: where it does not, it is
 * gone without a word, and the system would wait for it for many minutes.
 */
function giveUpSilent(pool: pg.Pool, silenceMs: number): void {
  const allow = (client: pg.PoolClient, milliseconds: number) => {
    const { stream } = client.connection;
    if (stream instanceof Socket) stream.setTimeout(milliseconds);
  };
  pool.on('connect', client => {
    const { stream } = client.connection;
    stream.on('timeout', () => stream.destroy(Object.assign(new Error('the database no longer answers'), { code: 'ETIMEDOUT' })));
  });
  pool.on('acquire', client => allow(client, silenceMs));
  pool.on('release', (_error, client) => allow(client, 0));
}

/**
 * Counts what comes from the server, and cuts a connection with the refusal of its share where the rows of a statement take too much: they
 * are all held until the last has come.
 */
function countReceived(pool: pg.Pool, answers: AnswerMemory | undefined): { readonly bytes: number } {
  const received = { bytes: 0 };
  pool.on('connect', client => {
    const { connection } = client;
    const { stream } = connection;
    const share = answers?.openShare();
    // Before pg takes the bytes apart: it tells at once where a statement has ended.
    stream.prependListener('data', (chunk: Buffer) => {
      received.bytes += chunk.length;
      if (stream.destroyed) return;
      try {
        share?.read(chunk.length);
      } catch (refusal) {
        stream.destroy(refusal instanceof Error ? refusal : new Error(String(refusal)));
      }
    });
    connection.on('readyForQuery', () => share?.release());
    stream.once('close', () => share?.release());
  });
  return received;
}

/** The refusal that a connection was cut with; of the error Prisma keeps the code alone. */
function refusedAnswer(error: unknown, { maxBytes }: AnswerMemory): DomainError | null {
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return null;
  const { code } = error;
  return code === 'QUERY_TOO_COMPLEX' || code === 'SERVICE_UNAVAILABLE' ? answerRefusal(code, maxBytes) : null;
}

function createStatementNames(): (query: { sql: string }) => string | undefined {
  const names = new Map<string, string>();
  return ({ sql }) => {
    if (!sql.startsWith(PREPARED)) return undefined;
    const known = names.get(sql);
    if (known !== undefined || names.size >= MAX_PREPARED) return known;
    const name = `sg_${createHash('sha256').update(sql).digest('hex').slice(0, 24)}`;
    names.set(sql, name);
    return name;
  };
}

/** The SQLSTATE of a failed statement, null where the error is none of the database's. */
function sqlStateOf(error: unknown): string | null {
  return databaseCauseOf(error)?.originalCode ?? null;
}

/** Whether a statement failed because it waited for a lock longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === LOCK_NOT_AVAILABLE;
}

/** The unique index or constraint a statement ran into, null where it failed for another reason. */
export function violatedUniqueIndex(error: unknown): string | null {
  const cause = databaseCauseOf(error);
  if (cause?.originalCode !== '23505') return null;
  return cause.constraint?.index ?? null;
}

interface DatabaseCause {
  readonly originalCode?: string;
  readonly constraint?: { readonly index?: string };
}

function databaseCauseOf(error: unknown): DatabaseCause | null {
  if (!(error instanceof Prisma.PrismaClientKnownRequestError)) return null;
  const adapterError = error.meta?.driverAdapterError;
  return adapterError instanceof Error && typeof adapterError.cause === 'object' ? adapterError.cause : null;
}
