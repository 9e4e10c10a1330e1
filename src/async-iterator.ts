/** An async generator that code outside its consumer can end. */
export interface EndableGenerator<Value> extends AsyncGenerator<Value, undefined> {
  /**
   * Ends the generator immediately, even while `next` waits. A waiting `next` resolves; later calls report the end.
   * @param last one more value: for the waiting `next`, or else for the next call
   */
  end(last?: Value): void;
}

interface WrapperOptions<Value> {
  /** Gives the next result, usually one value of the source, mapped. If it rejects, `next` rejects with that error and the generator ends. */
  next(): Promise<IteratorResult<Value, undefined>>;
  /** Called once, when the generator ends for any reason; with an error if it failed. */
  onEnd?(error?: unknown): void;
}

const DONE = { done: true, value: undefined } as const;

/**
 * Wraps an async iterator: maps, observes or filters its values in `next`, and learns of its end in `onEnd`.
 *
 * `return`, `throw` and `end` take effect immediately, also while the source is busy with its next value. Neither an `async function*` nor
 * `mapAsyncIterator` of `@whatwg-node/promise-helpers` can do that: both wait for the source. The source is returned when the wrapper
 * ends; nobody waits for that, and its errors are ignored.
 */
export function wrapAsyncIterator<Value>(
  source: AsyncIterator<unknown>,
  { next, onEnd = () => undefined }: WrapperOptions<Value>,
): EndableGenerator<Value> {
  /** Resolve the calls of `next` that wait. */
  const waiting = new Set<(result: IteratorResult<Value, undefined>) => void>();
  let isOpen = true;
  /** The value given to `end`, until `next` takes it. */
  let last: IteratorResult<Value, undefined> | null = null;

  function close(error?: unknown): void {
    if (!isOpen) return;
    isOpen = false;
    for (const resolve of waiting) resolve(DONE);
    onEnd(error);
    const returnSource = async () => source.return?.();
    returnSource().catch(() => undefined);
  }

  return {
    next() {
      if (last !== null) {
        const result = last;
        last = null;
        return Promise.resolve(result);
      }
      if (!isOpen) return Promise.resolve(DONE);
      return new Promise((resolve, reject) => {
        waiting.add(resolve);
        next().then(
          result => {
            waiting.delete(resolve);
            if (result.done === true) close();
            resolve(result);
          },
          (error: unknown) => {
            waiting.delete(resolve);
            close(error);
            reject(error);
          },
        );
      });
    },
    return() {
      last = null;
      close();
      return Promise.resolve(DONE);
    },
    throw(error) {
      last = null;
      close(error);
      return Promise.reject(error);
    },
    end(value) {
      if (!isOpen) return;
      if (value !== undefined) {
        const result = { done: false, value } as const;
        const [first] = waiting;
        if (first === undefined) last = result;
        else first(result);
      }
      close();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
