import type { GivenList, SessionListEvent, SessionListWatch } from './session-list-watch.service.ts';

/**
 * One consumer's view of a list: the list, then what changes. Nothing is held for it while it does not ask; when it does, it gets the
 * steps from what it has to what there is by then.
 */
export class SessionListStream implements AsyncIterableIterator<SessionListEvent> {
  readonly #watch: SessionListWatch;
  readonly #onEnd: () => void;
  #given: GivenList | null = null;
  #asked: Promise<unknown> = Promise.resolve();
  #ended = false;
  #failure: { readonly error: unknown } | null = null;
  #wake: () => void = () => undefined;

  constructor(watch: SessionListWatch, onEnd: () => void) {
    this.#watch = watch;
    this.#onEnd = onEnd;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<SessionListEvent>> {
    const result = this.#asked.then(() => this.#pull());
    this.#asked = result.catch(() => undefined);
    return result;
  }

  return(): Promise<IteratorResult<SessionListEvent>> {
    this.end();
    this.#failure = null;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends it at once; whoever waits for the next event is told. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#wake();
    this.#onEnd();
  }

  /** Ends it with an error, which the next to ask is told. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure = { error };
    this.end();
  }

  async #pull(): Promise<IteratorResult<SessionListEvent>> {
    while (!this.#ended) {
      const event = this.#take();
      if (event !== null) return { done: false, value: event };
      await new Promise<void>(resolve => {
        const forget = this.#watch.onceRead(resolve);
        this.#wake = () => {
          forget();
          resolve();
        };
      });
    }
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
    return { done: true, value: undefined };
  }

  #take(): SessionListEvent | null {
    const { state } = this.#watch;
    if (state === null) return null;
    const event = this.#watch.eventFor(this.#given);
    this.#given = { entries: state.entries, total: state.total };
    return event;
  }
}
