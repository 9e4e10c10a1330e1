import { requestTimeout } from '../errors.ts';

/** What a group commit does with its items. */
export interface GroupCommitOptions<Item, Result> {
  /** Items with the same key run in the order in which they were submitted. */
  readonly keyOf: (item: Item) => string;
  /** The size of an item. A batch holds at least one item, and several only up to `maxWeight` together. */
  readonly weightOf: (item: Item) => number;
  readonly maxWeight: number;
  /** An item that has waited longer does not run any more: its caller has given up. */
  readonly maxWaitMs: number;
  /**
   * Runs a batch by one statement: all of it or, if it throws, nothing.
   * @returns an outcome for each item, in their order; null for an item that must run alone
   */
  readonly runBatch: (items: readonly Item[]) => Promise<readonly (Result | null)[]>;
  /** Runs one item by a statement of its own, which may wait for locks. */
  readonly runAlone: (item: Item) => Promise<Result>;
  /** Whether the items of a batch that failed with this error run again, each alone. Nothing of the batch may have been written. */
  readonly mayRetryAlone: (error: unknown) => boolean;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly key: string;
  readonly weight: number;
  /** On the clock of `performance.now()`. */
  readonly expiresAt: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** The most batches that run at once. Items that are submitted meanwhile form the next ones. */
const MAX_RUNNING = 2;

/**
 * Runs writes of many callers by few statements: a statement and its commit cost more than a small write. One bad write does not fail
 * the others, and a write that must wait for a lock does not delay those of other keys.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  /** The keys of the items that are running. */
  readonly #busy = new Set<string>();
  #running = 0;
  #isScheduled = false;

  constructor(options: GroupCommitOptions<Item, Result>) {
    this.#options = options;
  }

  /** @throws the error of the item's statement; DomainError REQUEST_TIMEOUT after `maxWaitMs` */
  submit(item: Item): Promise<Result> {
    const { keyOf, weightOf, maxWaitMs } = this.#options;
    return new Promise((resolve, reject) => {
      const expiresAt = performance.now() + maxWaitMs;
      this.#waiting.push({ item, key: keyOf(item), weight: weightOf(item), expiresAt, resolve, reject });
      this.#schedule();
    });
  }

  /** Starts batches after all callers of this turn of the event loop have submitted their items. */
  #schedule(): void {
    if (this.#isScheduled || this.#running >= MAX_RUNNING || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      const batch = this.#takeBatch();
      if (batch.length > 0) void this.#run(batch);
    });
  }

  /** Takes the items that can run now: the oldest of each key that is not busy, and those behind it. */
  #takeBatch(): Waiting<Item, Result>[] {
    const batch: Waiting<Item, Result>[] = [];
    const left: Waiting<Item, Result>[] = [];
    const leftKeys = new Set<string>();
    let weight = 0;
    for (const waiting of this.#waiting) {
      const total = weight + waiting.weight;
      if (this.#busy.has(waiting.key) || leftKeys.has(waiting.key) || (batch.length > 0 && total > this.#options.maxWeight)) {
        left.push(waiting);
        leftKeys.add(waiting.key);
      } else if (hasExpired(waiting)) {
        waiting.reject(requestTimeout());
      } else {
        batch.push(waiting);
        weight = total;
      }
    }
    this.#waiting = left;
    for (const { key } of batch) this.#busy.add(key);
    return batch;
  }

  async #run(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#running += 1;
    // Items of other keys may be waiting while this batch runs.
    this.#schedule();
    const alone = await this.#runBatch(batch);
    this.#running -= 1;
    for (const [key, items] of alone) void this.#runInOrder(key, items);
    for (const { key } of batch) if (!alone.has(key)) this.#busy.delete(key);
    this.#schedule();
  }

  /** Runs a batch, and settles its items. Returns those that must run alone, by key. */
  async #runBatch(batch: readonly Waiting<Item, Result>[]): Promise<ReadonlyMap<string, readonly Waiting<Item, Result>[]>> {
    const { runBatch, mayRetryAlone } = this.#options;
    let results: readonly (Result | null)[] = [];
    try {
      results = await runBatch(batch.map(({ item }) => item));
    } catch (error) {
      if (batch.length === 1 || !mayRetryAlone(error)) {
        for (const { reject } of batch) reject(error);
        return new Map();
      }
    }
    const alone = new Map<string, Waiting<Item, Result>[]>();
    for (const [index, waiting] of batch.entries()) {
      const result = results[index] ?? null;
      if (result !== null) waiting.resolve(result);
      else alone.set(waiting.key, [...(alone.get(waiting.key) ?? []), waiting]);
    }
    return alone;
  }

  async #runInOrder(key: string, items: readonly Waiting<Item, Result>[]): Promise<void> {
    for (const waiting of items) await this.#runAlone(waiting);
    this.#busy.delete(key);
    this.#schedule();
  }

  async #runAlone(waiting: Waiting<Item, Result>): Promise<void> {
    try {
      // The items before this one may have waited long for the same lock.
      if (hasExpired(waiting)) throw requestTimeout();
      waiting.resolve(await this.#options.runAlone(waiting.item));
    } catch (error) {
      waiting.reject(error);
    }
  }
}

function hasExpired({ expiresAt }: { readonly expiresAt: number }): boolean {
  return performance.now() > expiresAt;
}
