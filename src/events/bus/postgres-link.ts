import { setTimeout } from 'node:timers/promises';
import { Client, type Notification, type QueryConfig, type QueryResult } from 'pg';
import type { Logger } from '../../log.ts';

/** What a PostgresLink needs. */
export interface PostgresLinkOptions {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  readonly log: Logger;
  /** Sent once on every new connection, before anything else. */
  readonly setup: string;
  /** Called after `setup` on every new connection. */
  readonly onConnected?: () => void;
  readonly onNotification?: (notification: Notification) => void;
  /** Called when an established connection is gone, unless `close` ended it. */
  readonly onLost?: () => void;
}

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 30_000;
/** Longer than the server's own limit: reached only where the server no longer answers at all. */
const ANSWER_TIMEOUT_MS = 35_000;
const GOODBYE_TIMEOUT_MS = 1_000;

/**
 * One connection of one's own to Postgres, made when first needed and again whenever it broke.
 * Any failed statement gives the connection up, so that none is ever left inside a transaction.
 */
export class PostgresLink {
  readonly #options: PostgresLinkOptions;
  #connection: Promise<Client> | null = null;
  #established: Client | null = null;
  #closed = false;

  constructor(options: PostgresLinkOptions) {
    this.#options = options;
  }

  /**
   * Sends a statement, or several without parameters in one text, and gives the result of each.
   * @throws the error of pg; the next call makes a new connection
   */
  async query(query: string | QueryConfig): Promise<readonly QueryResult[]> {
    const client = await this.#connect();
    try {
      const result: QueryResult | QueryResult[] = await client.query(query);
      return Array.isArray(result) ? result : [result];
    } catch (error) {
      this.#drop(client);
      throw error;
    }
  }

  /** Ends the connection, whatever is under way on it; later calls of `query` fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const client = await this.#connection?.catch(() => null);
    if (client == null) return;
    const impatience = new AbortController();
    const tooLong = setTimeout(GOODBYE_TIMEOUT_MS, undefined, { signal: impatience.signal }).catch(() => undefined);
    await Promise.race([client.end().catch(() => undefined), tooLong]);
    impatience.abort();
  }

  #connect(): Promise<Client> {
    if (this.#closed) return Promise.reject(new Error(`The connection "${this.#options.name}" is closed.`));
    if (this.#connection === null) {
      this.#connection = this.#open();
      this.#connection.catch(() => {
        this.#connection = null;
      });
    }
    return this.#connection;
  }

  async #open(): Promise<Client> {
    const { url, name, log, setup, onConnected, onNotification } = this.#options;
    const client = new Client({
      connectionString: url,
      application_name: name,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      keepAlive: true,
    });
    client.on('error', error => {
      if (!this.#closed) log.warn({ connection: name, reason: error.message }, 'lost a connection to Postgres');
      this.#drop(client);
    });
    client.on('end', () => this.#drop(client));
    if (onNotification !== undefined) client.on('notification', onNotification);
    try {
      await client.connect();
      await client.query(setup);
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    this.#established = client;
    onConnected?.();
    return client;
  }

  #drop(client: Client): void {
    if (this.#established !== client) return;
    this.#established = null;
    this.#connection = null;
    void client.end().catch(() => undefined);
    if (!this.#closed) this.#options.onLost?.();
  }
}
