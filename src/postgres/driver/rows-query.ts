import pg from 'pg';
import { isStaleStatement } from '../sql-state.ts';
import type { PreparedStatement, PreparedStatements } from './prepared-statements.ts';
import { type BuildRow, type ResultColumn, rowBuilderFor } from './row-builder.ts';

/** A statement as it is sent. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Whether it is worth a named prepared statement. */
  readonly isPrepared?: boolean;
}

/** pg exports this function without a type. It converts a value as pg's own queries do. */
const { prepareValue } = (pg as unknown as { readonly utils: { prepareValue(value: unknown): string | Buffer | null } }).utils;

/**
 * A query for pg's `Client.query`. In contrast to pg's own it does not ask Postgres to describe a prepared statement again, and makes rows
 * at once, without a result object around them.
 */
export class RowsQuery<Row> implements pg.Submittable {
  readonly #text: string;
  readonly #values: (string | Buffer | null)[];
  readonly #prepared: PreparedStatements | null;
  readonly #resolve: (rows: Row[]) => void;
  readonly #reject: (error: unknown) => void;
  readonly #rows: Row[] = [];
  #statement: PreparedStatement | null = null;
  #isNew = true;
  #buildRow: BuildRow | null = null;
  #failure: unknown;

  /**
   * @param prepared the prepared statements of the connection
   * @throws if a value cannot be converted
   */
  constructor(statement: Statement, prepared: PreparedStatements, resolve: (rows: Row[]) => void, reject: (error: unknown) => void) {
    const { text, values = [], isPrepared = false } = statement;
    this.#text = text;
    // Without a second argument: pg uses it for objects that contain themselves.
    this.#values = values.map(value => prepareValue(value));
    this.#prepared = isPrepared ? prepared : null;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: pg.Connection): void {
    // A simple query is one message. Postgres responds with the same messages.
    if (this.#prepared === null && this.#values.length === 0) connection.query(this.#text);
    else this.#submitExtended(connection);
  }

  #submitExtended(connection: pg.Connection): void {
    const known = this.#prepared?.find(this.#text);
    this.#isNew = known === undefined;
    this.#statement = known ?? this.#prepared?.add(this.#text) ?? null;
    this.#buildRow = known?.buildRow ?? null;
    const name = this.#statement?.name ?? '';
    const { stream } = connection;
    // All messages leave with one write.
    stream.cork();
    try {
      for (const removed of this.#prepared?.takeRemoved() ?? []) connection.close({ type: 'S', name: removed }, false);
      if (this.#isNew) connection.parse({ name, text: this.#text, types: [] }, false);
      connection.bind({ statement: name, values: this.#values }, false);
      if (this.#isNew) connection.describe({ type: 'P' }, false);
      connection.execute(null, false);
      connection.sync();
    } finally {
      stream.uncork();
    }
  }

  handleRowDescription({ fields }: { readonly fields: readonly ResultColumn[] }): void {
    this.#buildRow = rowBuilderFor(fields);
    if (this.#statement !== null) this.#statement.buildRow = this.#buildRow;
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#buildRow === null || this.#failure !== undefined) return;
    try {
      this.#rows.push(this.#buildRow(fields) as Row);
    } catch (error) {
      this.#failure = error;
    }
  }

  handleCommandComplete(): void {}

  handleEmptyQuery(): void {}

  handleError(error: unknown): void {
    // If it is new, Postgres may have failed to parse it.
    if (this.#isNew) this.#prepared?.remove(this.#text);
    // A migration has changed the types of its columns, and perhaps those of others.
    if (isStaleStatement(error)) this.#prepared?.removeAll();
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    if (this.#failure === undefined) this.#resolve(this.#rows);
    else this.#reject(this.#failure);
  }
}
