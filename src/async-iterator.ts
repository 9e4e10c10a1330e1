interface WrapperOptions<Value> {
  /** Gives the next result, usually one value of the source, mapped. If it rejects, `next` rejects with that error and the generator ends. */
  next(): Promise<IteratorResult<Value, undefined>>;
  /** Gives the next value if that takes no waiting, else null. By default, `next` gives all values. */
  takeNow?(): Value | null;
  /** Called once, when the generator ends for any reason; with an error if it failed. */
  onEnd?(error?: unknown): void;
}

const DONE = { done: true, value: undefined } as const;

/** An async generator that code outside its consumer can end. `wrapAsyncIterator` makes it. */
export class EndableGenerator<Value> implements AsyncGenerator<Value, undefined> {
  readonly #source: AsyncIterator<unknown>;
  readonly #options: WrapperOptions<Value>;
  /** Resolve the calls of `next` that wait, oldest first. */
  readonly #waiting: ((result: IteratorResult<Value, undefined>) => void)[] = [];
  #isOpen = true;
  /** The value given to `end`, until `next` takes it. */
  #last: IteratorResult<Value, undefined> | null = null;

  constructor(source: AsyncIterator<unknown>, options: WrapperOptions<Value>) {
    this.#source = source;
    this.#options = options;
  }

  next(): Promise<IteratorResult<Value, undefined>> {
    if (this.#last !== null) {
      const result = this.#last;
      this.#last = null;
      return Promise.resolve(result);
    }
    if (!this.#isOpen) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#options.next().then(
        result => {
          this.#stopWaiting(resolve);
          if (result.done === true) this.#close();
          resolve(result);
        },
        (error: unknown) => {
          this.#stopWaiting(resolve);
          this.#close(error);
          reject(error);
        },
      );
    });
  }

  /**
   * The next value if that takes no waiting, else null: then `next` gives it, or the end. A consumer that calls this first handles values
   * that arrive together without a promise for each.
   */
  takeNow(): Value | null {
    const isNext = this.#isOpen && this.#last === null && this.#waiting.length === 0;
    return isNext ? (this.#options.takeNow?.() ?? null) : null;
  }

  return(_value?: undefined): Promise<IteratorResult<Value, undefined>> {
    this.#last = null;
    this.#close();
    return Promise.resolve(DONE);
  }

  throw(error: unknown): Promise<IteratorResult<Value, undefined>> {
    this.#last = null;
    this.#close(error);
    return Promise.reject(error);
  }

  /**
   * Ends the generator immediately, even while `next` waits. A waiting `next` resolves; later calls report the end.
   * @param last one more value: for the waiting `next`, or else for the next call
   */
  end(last?: Value): void {
    if (!this.#isOpen) return;
    if (last !== undefined) {
      const result = { done: false, value: last } as const;
      const [first] = this.#waiting;
      if (first === undefined) this.#last = result;
      else first(result);
    }
    this.#close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #stopWaiting(resolve: (result: IteratorResult<Value, undefined>) => void): void {
    const index = this.#waiting.indexOf(resolve);
    if (index !== -1) this.#waiting.splice(index, 1);
  }

  #close(error?: unknown): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const resolve of this.#waiting) resolve(DONE);
    this.#options.onEnd?.(error);
    const returnSource = async () => this.#source.return?.();
    returnSource().catch(() => undefined);
  }
}

/**
 * Wraps an async iterator: maps, observes or filters its values in `next`, and learns of its end in `onEnd`.
 *
 * `return`, `throw` and `end` take effect immediately, also while the source is busy with its next value. Neither an `async function*` nor
 * `mapAsyncIterator` of `@whatwg-node/promise-helpers` can do that: both wait for the source. The source is returned when the wrapper
 * ends; nobody waits for that, and its errors are ignored.
 */
export function wrapAsyncIterator<Value>(source: AsyncIterator<unknown>, options: WrapperOptions<Value>): EndableGenerator<Value> {
  return new EndableGenerator(source, options);
}
