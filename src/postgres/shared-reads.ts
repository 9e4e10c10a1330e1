import { AsyncResource } from 'node:async_hooks';
import { DomainError } from '../errors.ts';
import type { Database, Executor, OperationReads } from './database.ts';
import { estimatedJsonSize } from './json-size.ts';
import type { MemoryBudget, ResponseMemory } from './response-memory.ts';
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

/**
 * If the rows of a shared statement take at most this part of what one response may, each operation pays an equal share. What each one's
 * values take is only measured in larger ones: to walk through the rows of a page costs a twelfth of its request.
 */
const UNMEASURED_PART = 1 / 32;

/** One operation that waits for its values. */
interface WaitingRead<Key, Value> {
  readonly keys: readonly Key[];
  readonly read: ReadByKeys<Key, Value>;
  readonly budget: MemoryBudget;
  readonly resolve: (values: Value[] | Promise<Value[]>) => void;
  readonly reject: (error: unknown) => void;
  /** The text of the statement that was sent, for the trace. */
  statement: string;
}

interface Variant<Key, Value> {
  waiting: WaitingRead<Key, Value>[];
  running: number;
  isScheduled: boolean;
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
    return (variant, keys, read) => {
      if (keys.length > MAX_KEYS_OF_OPERATION) return read(reads, keys);
      return reads.limited(() => this.#share(variant, keys, read, reads.budget));
    };
  }

  #share(name: string, keys: readonly Key[], read: ReadByKeys<Key, Value>, budget: MemoryBudget): Promise<Value[]> {
    let statement: Pick<WaitingRead<Key, Value>, 'statement'> = { statement: '' };
    const wait = () =>
      new Promise<Value[]>((resolve, reject) => {
        let variant = this.#variants.get(name);
        if (variant === undefined) {
          variant = { waiting: [], running: 0, isScheduled: false, timer: null };
          this.#variants.set(name, variant);
        }
        const entry: WaitingRead<Key, Value> = { keys, read, budget, resolve, reject, statement: '' };
        statement = entry;
        variant.waiting.push(entry);
        this.#schedule(name, variant);
      });
    return this.#options.database.trace(wait, () => ({ kind: 'client', name: summarizeStatement(statement.statement) }));
  }

  /** Sends what waits once the event loop has handled the other requests that have already arrived. */
  #schedule(name: string, variant: Variant<Key, Value>): void {
    if (variant.isScheduled) return;
    const send = () => this.#untraced.runInAsyncScope(() => this.#send(name, variant));
    if (variant.running >= MAX_RUNNING) {
      variant.timer ??= setTimeout(send, MAX_WAIT_MS);
      return;
    }
    variant.isScheduled = true;
    setImmediate(send);
  }

  #send(name: string, variant: Variant<Key, Value>): void {
    if (variant.timer !== null) clearTimeout(variant.timer);
    variant.timer = null;
    variant.isScheduled = false;
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
    if (end !== -1) return variant.waiting.splice(0, end);
    const all = variant.waiting;
    variant.waiting = [];
    return all;
  }

  async #readBatch(batch: readonly WaitingRead<Key, Value>[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length === 1) await this.#readAlone(first);
    else await this.#readTogether(first, batch);
  }

  /** The executor of a statement that the budget pays for. */
  #executorFor(budget: MemoryBudget, batch: readonly WaitingRead<Key, Value>[]): Executor {
    const operation = this.#options.database.forOperation(budget);
    return {
      rows: statement => {
        for (const each of batch) each.statement = statement.text;
        return operation.rows(statement);
      },
    };
  }

  /** The operation pays for the bytes that arrive, as if its statement could not be shared. */
  async #readAlone(entry: WaitingRead<Key, Value>): Promise<void> {
    try {
      entry.resolve(await entry.read(this.#executorFor(entry.budget, [entry]), entry.keys));
    } catch (error) {
      entry.reject(error);
    }
  }

  async #readTogether(first: WaitingRead<Key, Value>, batch: readonly WaitingRead<Key, Value>[]): Promise<void> {
    const keys: Key[] = [];
    const places = new Map<string, number>();
    for (const key of batch.flatMap(each => each.keys)) {
      const name = nameOf(key);
      if (places.has(name)) continue;
      places.set(name, keys.length);
      keys.push(key);
    }
    const budget = this.#options.memory.openBudget();
    try {
      const values = await first.read(this.#executorFor(budget, batch), keys);
      const bytes = budget.usedBytes();
      const isSmall = bytes <= this.#options.memory.maxBytes * UNMEASURED_PART;
      for (const each of batch) {
        try {
          const own = each.keys.map(key => values[places.get(nameOf(key)) ?? -1] as Value);
          each.budget.addRead(isSmall ? bytes / batch.length : estimatedJsonSize(own));
          each.resolve(own);
        } catch (error) {
          each.reject(error);
        }
      }
    } catch (error) {
      // The rows of all operations together were too large. Those of each one may not be.
      const isRefused = error instanceof DomainError && keys.length > 1;
      for (const each of batch) {
        if (isRefused) void this.#readAlone(each);
        else each.reject(error);
      }
    } finally {
      budget.release();
    }
  }
}

function nameOf(key: unknown): string {
  return typeof key === 'string' ? key : JSON.stringify(key);
}
