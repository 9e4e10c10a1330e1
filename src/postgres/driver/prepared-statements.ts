import { createHash } from 'node:crypto';
import type { BuildRow } from './row-builder.ts';

/** Postgres keeps a plan of each, some hundred KB, on each connection. */
const MAX_PREPARED = 200;

export interface PreparedStatement {
  readonly name: string;
  /** Null until Postgres has described the rows, and for a statement that returns none. */
  buildRow: BuildRow | null;
}

/** The named prepared statements of one connection. The least recently used one makes room for a new one. */
export class PreparedStatements {
  /** By text, the most recently used last. */
  readonly #statements = new Map<string, PreparedStatement>();
  #removed: string[] = [];

  /** The statement with this text; undefined if it has to be added first. */
  find(text: string): PreparedStatement | undefined {
    const statement = this.#statements.get(text);
    if (statement === undefined) return undefined;
    this.#statements.delete(text);
    this.#statements.set(text, statement);
    return statement;
  }

  /** Adds a statement that is sent to be parsed now. */
  add(text: string): PreparedStatement {
    const [oldest] = this.#statements.keys();
    if (oldest !== undefined && this.#statements.size >= MAX_PREPARED) this.remove(oldest);
    const statement = { name: `sg_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`, buildRow: null };
    this.#statements.set(text, statement);
    return statement;
  }

  remove(text: string): void {
    const statement = this.#statements.get(text);
    if (statement === undefined) return;
    this.#statements.delete(text);
    this.#removed.push(statement.name);
  }

  removeAll(): void {
    for (const { name } of this.#statements.values()) this.#removed.push(name);
    this.#statements.clear();
  }

  /** The names that Postgres still has to close, each once. */
  takeRemoved(): readonly string[] {
    const removed = this.#removed;
    if (removed.length > 0) this.#removed = [];
    return removed;
  }
}
