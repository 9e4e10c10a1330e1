import { AsyncResource } from 'node:async_hooks';
import { DomainError } from '../errors.ts';
import type { Database, Executor, OperationReads } from './database.ts';
import { estimatedJsonSize } from './json-size.ts';
import type { ResponseMemory } from './response-memory.ts';
import { summarizeStatement } from './tracing.ts';

/** Reads one value for each of several distinct keys, in their order, with one statement. */
export type ReadByKeys<Key, Value> = (executor: Executor, keys: readonly Key[]) => Promise<Value[]>;

/**
 * Reads values by their keys for one operation.
 * @param variant everything the statement depends on besides its keys, the viewer's rights included, as one text
 * @throws what `read` and the operation's budget throw
 */
export type KeyedRead<Key, Value> = (variant: string, keys: readonly Key[], read: ReadByKeys<Key, Value>) => Promise<Value[]>;

/** Reads that are not shared: each operation sends its own statement. */
export function readAlone<Key, Value>(executor: Executor): KeyedRead<Key, Value> {
  return (_variant, keys, read) => read(executor, keys);
}

export interface SharedReadsOptions {
  readonly database: Pick<Database, 'forOperation' | 'trace'>;
  /** Bounds the rows of one statement. */
  readonly memory: ResponseMemory;
  /** The most keys of one statement. Their rows should be much smaller than one response may be. */
  readonly maxKeys: number;
}

/** Concurrent statements of one variant. Reads that are asked for meanwhile wait, and share the next statement. */
const MAX_RUNNING = 2;

/** The longest wait for those statements: a lock may block them. */
const MAX_WAIT_MS = 100;

/** An operation that asks for more keys than this sends its own statement: the cost of the statement is then small per key. */
const MAX_KEYS_OF_OPERATION = 4;

interface WaitingRead<Key, Value> {
  readonly keys: readonly Key[];
  readonly read: ReadByKeys<Key, Value>;
  readonly resolve: (values: Value[]) => void;
  readonly reject: (error: unknown) => void;
  /** Called with the text of the shared statement, for the trace. */
  readonly onSent: (text: string) => void;
}

interface Variant<Key, Value> {
  waiting: WaitingRead<Key, Value>[];
  running: number;
  scheduled: NodeJS.Immediate | null;
  timer: NodeJS.Timeout | null;
}

/**
 * Reads by key for all operations of the process: operations that ask at the same time share one statement, because a small statement
 * costs more than its rows. Nothing is cached: every read is sent after it was asked for.
 */
export class SharedReads<Key, Value> {
  readonly #options: SharedReadsOptions;
  readonly #variants = new Map<string, Variant<Key, Value>>();
  /** Runs outside the trace of any operation: a shared statement belongs to several. */
  readonly #untraced = new AsyncResource('SharedReads');

  constructor(options: SharedReadsOptions) {
    this.#options = options;
  }

  /** The function that reads for one operation. Its rows count towards the operation's budget and its concurrent statements. */
  forOperation(reads: OperationReads): KeyedRead<Key, Value> {
    return async (variant, keys, read) => {
      if (keys.length > MAX_KEYS_OF_OPERATION) return read(reads, keys);
      try {
        return await reads.limited(async () => {
          const values = await this.#share(variant, keys, read);
          reads.budget.addRead(estimatedJsonSize(values));
          return values;
        });
      } catch (error) {
        // The rows of all operations together were too large. Those of this operation may not be.
        if (error instanceof SharedReadRefusedError) return read(reads, keys);
        throw error;
      }
    };
  }

  #share(name: string, keys: readonly Key[], read: ReadByKeys<Key, Value>): Promise<Value[]> {
    let statement = '';
    const wait = () =>
      new Promise<Value[]>((resolve, reject) => {
        const variant = this.#variants.get(name) ?? { waiting: [], running: 0, scheduled: null, timer: null };
        this.#variants.set(name, variant);
        variant.waiting.push({ keys, read, resolve, reject, onSent: text => (statement = text) });
        this.#schedule(name, variant);
      });
    return this.#options.database.trace(wait, () => ({ kind: 'client', name: summarizeStatement(statement) }));
  }

  #schedule(name: string, variant: Variant<Key, Value>): void {
    const send = () => this.#untraced.runInAsyncScope(() => this.#send(name, variant));
    if (variant.running < MAX_RUNNING) variant.scheduled ??= setImmediate(send);
    else variant.timer ??= setTimeout(send, MAX_WAIT_MS);
  }

  #send(name: string, variant: Variant<Key, Value>): void {
    if (variant.scheduled !== null) clearImmediate(variant.scheduled);
    if (variant.timer !== null) clearTimeout(variant.timer);
    variant.scheduled = null;
    variant.timer = null;
    const batch = this.#takeBatch(variant);
    if (batch.length === 0) return;
    variant.running += 1;
    void this.#readBatch(batch).finally(() => {
      variant.running -= 1;
      if (variant.waiting.length > 0) this.#schedule(name, variant);
      else if (variant.running === 0) this.#variants.delete(name);
    });
    if (variant.waiting.length > 0) this.#schedule(name, variant);
  }

  #takeBatch(variant: Variant<Key, Value>): WaitingRead<Key, Value>[] {
    let keys = 0;
    const end = variant.waiting.findIndex((entry, index) => {
      keys += entry.keys.length;
      return index > 0 && keys > this.#options.maxKeys;
    });
    return variant.waiting.splice(0, end === -1 ? variant.waiting.length : end);
  }

  async #readBatch(batch: readonly WaitingRead<Key, Value>[]): Promise<void> {
    const budget = this.#options.memory.openBudget();
    const [first] = batch;
    if (first === undefined) return;
    const keyByName = new Map(batch.flatMap(({ keys }) => keys.map(key => [nameOf(key), key] as const)));
    const { database } = this.#options;
    const executor: Executor = {
      rows: statement => {
        for (const { onSent } of batch) onSent(statement.text);
        return database.forOperation(budget).rows(statement);
      },
    };
    try {
      const values = await first.read(executor, [...keyByName.values()]);
      const names = [...keyByName.keys()];
      const valueByName = new Map(values.map((value, index) => [names[index], [value]]));
      // Each value is in a list of its own, because it may be null, or a list itself.
      for (const { keys, resolve } of batch) resolve(keys.flatMap(key => valueByName.get(nameOf(key)) ?? []));
    } catch (error) {
      const isRefused = error instanceof DomainError && keyByName.size > 1;
      for (const { reject } of batch) reject(isRefused ? new SharedReadRefusedError() : error);
    } finally {
      budget.release();
    }
  }
}

/** The rows of several operations together exceed the budget of one. */
class SharedReadRefusedError extends Error {
  override readonly name = 'SharedReadRefusedError';
}

function nameOf(key: unknown): string {
  return typeof key === 'string' ? key : JSON.stringify(key);
}
