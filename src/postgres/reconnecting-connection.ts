import pLimit from 'p-limit';
import type { Notification, QueryConfig, QueryResult } from 'pg';
import type { Logger } from '../log.ts';
import type { PostgresSettings } from './connection-url.ts';
import { type DedicatedConnection, openDedicatedConnection } from './dedicated-connection.ts';

export interface ReconnectingConnectionOptions {
  readonly url: string;
  /** The `application_name` in pg_stat_activity. */
  readonly name: string;
  readonly log: Pick<Logger, 'warn'>;
  /** Sent once on every new connection, before anything else, such as `listen channel`. */
  readonly setup?: string;
  readonly settings?: PostgresSettings;
  /** Postgres cancels a statement that runs longer; 30 seconds by default. */
  readonly statementTimeoutMs?: number;
  /** Five seconds by default. */
  readonly connectTimeoutMs?: number;
  /** Called after `setup` on every new connection. */
  readonly onConnected?: () => void;
  readonly onNotification?: (notification: Notification) => void;
  /** Called when an established connection is lost, except by `close`. */
  readonly onLost?: () => void;
}

const STATEMENT_TIMEOUT_MS = 30_000;

/**
 * A dedicated connection that is opened when it is first needed, and again after it was lost.
 * A failed statement closes the connection, so none is ever left inside a transaction.
 */
export class ReconnectingConnection {
  readonly #options: ReconnectingConnectionOptions;
  #opening: Promise<DedicatedConnection> | null = null;
  #established: DedicatedConnection | null = null;
  #closed = false;
  readonly #oneAtATime = pLimit(1);

  constructor(options: ReconnectingConnectionOptions) {
    this.#options = options;
  }

  /**
   * Sends one statement, or several without parameters in one text, and returns the result of each. Calls wait for earlier ones.
   * @throws the error of pg; the next call opens a new connection
   */
  query(query: string | QueryConfig): Promise<readonly QueryResult[]> {
    return this.#oneAtATime(async () => {
      const connection = await this.#connect();
      try {
        const result: QueryResult | QueryResult[] = await connection.client.query(query);
        return Array.isArray(result) ? result : [result];
      } catch (error) {
        this.#drop(connection);
        throw error;
      }
    });
  }

  /** Closes the connection, whatever runs on it. Later calls of `query` fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const connection = await this.#opening?.catch(() => null);
    await connection?.close();
  }

  #connect(): Promise<DedicatedConnection> {
    if (this.#closed) return Promise.reject(new Error(`The connection "${this.#options.name}" is closed.`));
    if (this.#opening === null) {
      this.#opening = this.#open();
      this.#opening.catch(() => {
        this.#opening = null;
      });
    }
    return this.#opening;
  }

  async #open(): Promise<DedicatedConnection> {
    const { url, name, log, setup, settings, connectTimeoutMs, onConnected, onNotification } = this.#options;
    const { statementTimeoutMs = STATEMENT_TIMEOUT_MS } = this.#options;
    const connection = await openDedicatedConnection({ url, name, settings, connectTimeoutMs, statementTimeoutMs });
    if (onNotification !== undefined) connection.client.on('notification', onNotification);
    try {
      if (setup !== undefined) await connection.client.query(setup);
      // Postgres may end the connection together with its response. The listener below would then never be called.
      connection.lost.throwIfAborted();
    } catch (error) {
      connection.cut();
      throw error;
    }
    this.#established = connection;
    connection.lost.addEventListener('abort', () => {
      if (this.#established !== connection) return;
      if (!this.#closed) log.warn({ connection: name, reason: String(connection.lost.reason) }, 'lost a connection to Postgres');
      this.#drop(connection);
    });
    onConnected?.();
    return connection;
  }

  #drop(connection: DedicatedConnection): void {
    if (this.#established !== connection) return;
    this.#established = null;
    this.#opening = null;
    connection.cut();
    if (!this.#closed) this.#options.onLost?.();
  }
}
