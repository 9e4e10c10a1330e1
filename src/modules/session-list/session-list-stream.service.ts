import type { DeliveredList, SessionListEvent, SessionListWatch } from './session-list-watch.service.ts';

/**
 * One subscriber's stream of a list: a snapshot, then changes. Nothing is buffered for a slow subscriber: each event has the changes from the
 * list that the subscriber has to the newest one.
 */
export class SessionListStream implements AsyncIterableIterator<SessionListEvent> {
  readonly #watch: SessionListWatch;
  readonly #onEnd: () => void;
  #delivered: DeliveredList | null = null;
  /** The last call of `next`; calls wait for one another. */
  #lastCall: Promise<unknown> = Promise.resolve();
  #hasEnded = false;
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
    const result = this.#lastCall.then(() => this.#pull());
    this.#lastCall = result.catch(() => undefined);
    return result;
  }

  return(): Promise<IteratorResult<SessionListEvent>> {
    this.end();
    this.#failure = null;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the stream immediately. Pending calls of `next` resolve. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#wake();
    this.#onEnd();
  }

  /** Ends the stream. The pending or next call of `next` rejects with this error. */
  fail(error: unknown): void {
    if (this.#hasEnded) return;
    this.#failure = { error };
    this.end();
  }

  async #pull(): Promise<IteratorResult<SessionListEvent>> {
    while (!this.#hasEnded) {
      const event = this.#takeEvent();
      if (event !== null) return { done: false, value: event };
      await new Promise<void>(resolve => {
        const cancel = this.#watch.onNextRead(resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
    return { done: true, value: undefined };
  }

  #takeEvent(): SessionListEvent | null {
    const { state } = this.#watch;
    if (state === null) return null;
    const event = this.#watch.eventSince(this.#delivered);
    this.#delivered = { entries: state.entries, total: state.total };
    return event;
  }
}
