import pg from 'pg';
import { parseConnectionUrl } from './connection-url.ts';
import type { Executor, Transactor } from './database.ts';

/**
 * A connection of one's own, for work that is bound to what its session holds, such as an advisory lock: once it is lost nothing
 * more can be done through it, so that whoever gets the lock next never meets work of the one before.
 * One statement or transaction at a time.
 */
export interface DedicatedConnection extends Transactor {
  /** For work that speaks to the driver itself. */
  readonly client: Pick<pg.ClientBase, 'query'>;
  /** Aborted when the connection is gone; what is under way on it then fails. */
  readonly lost: AbortSignal;
  /** Ends it, at once where the server does not answer; to call it again changes nothing. */
  close(): Promise<void>;
  /** Ends it at once: what is under way fails, and is rolled back. */
  cut(): void;
}

/** What a connection of one's own needs. */
export interface DedicatedConnectionOptions {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** A statement running longer is ended by the server. */
  readonly statementTimeoutMs: number;
  /** Without a statement for so long, the server ends the session and lets go of what it holds: its process may be frozen or out of reach. */
  readonly idleTimeoutMs: number;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** How much longer than a statement may take the server is waited for. */
const SILENCE_GRACE_MS = 3_000;
const GOODBYE_TIMEOUT_MS = 1_000;

/** SQLSTATE deadlock_detected. */
const DEADLOCK = '40P01';
const MAX_ATTEMPTS = 4;

/*
 * So the server notices within seconds that the other end is gone, even in the middle of a statement. Where the system underneath
 * does not offer one of these, it is done without.
 */
const NOTICE_DEATH = `do $$ begin perform set_config('client_connection_check_interval', '1s', false); exception when others then null; end $$;
  do $$ begin perform set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
    set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '15s', false); exception when others then null; end $$`;

/** As Prisma reads them: see Executor. */
const typeParsers: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) => (oid === pg.types.builtins.INT8 ? BigInt : pg.types.getTypeParser(oid, format)),
};

/**
 * Connects.
 * @throws the error of pg where the database cannot be reached
 */
export async function openDedicatedConnection(options: DedicatedConnectionOptions): Promise<DedicatedConnection> {
  const { url, name, statementTimeoutMs, idleTimeoutMs } = options;
  const client = new pg.Client({
    connectionString: parseConnectionUrl(url).connectionString,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + SILENCE_GRACE_MS,
    idle_in_transaction_session_timeout: idleTimeoutMs,
    keepAlive: true,
    options: `-c timezone=UTC -c default_transaction_isolation=read\\ committed -c jit=off -c idle_session_timeout=${idleTimeoutMs}`,
    types: typeParsers,
  });
  const gone = new AbortController();
  let closing: Promise<void> | null = null;
  const cut = () => {
    gone.abort();
    client.connection.stream.destroy();
  };
  client.on('error', () => gone.abort());
  client.on('end', () => gone.abort());
  try {
    await client.connect();
    await client.query(NOTICE_DEATH);
  } catch (error) {
    cut();
    throw error;
  }

  async function send(query: string | pg.QueryConfig): Promise<pg.QueryResult> {
    try {
      return await client.query(query);
    } catch (error) {
      // All but a refusal of this one statement leaves the session in a state that nobody knows.
      if (!(error instanceof pg.DatabaseError && error.severity === 'ERROR')) cut();
      throw error;
    }
  }

  const executor: Executor = {
    async rows(statement) {
      const { rows } = await send({ text: statement.text, values: [...statement.values] });
      return rows;
    },
  };

  async function attempt<Result>(work: (transaction: Executor) => Promise<Result>): Promise<Result> {
    await send('begin');
    try {
      const result = await work(executor);
      await send('commit');
      return result;
    } catch (error) {
      if (!gone.signal.aborted) await send('rollback');
      throw error;
    }
  }

  async function goodbye(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>(resolve => {
      timer = setTimeout(resolve, GOODBYE_TIMEOUT_MS);
    });
    // A connection that is gone has nobody to say it to.
    if (!gone.signal.aborted) await Promise.race([client.end().catch(() => undefined), patience]);
    clearTimeout(timer);
    cut();
  }

  return {
    ...executor,
    client,
    lost: gone.signal,
    cut,
    async transaction(work) {
      for (let count = 1; ; count++) {
        try {
          return await attempt(work);
        } catch (error) {
          const isDeadlock = error instanceof pg.DatabaseError && error.code === DEADLOCK;
          if (!isDeadlock || count === MAX_ATTEMPTS) throw error;
        }
      }
    },
    close() {
      closing ??= goodbye();
      return closing;
    },
  };
}
