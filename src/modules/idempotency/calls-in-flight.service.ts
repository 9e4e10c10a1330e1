import { DomainError } from '../../errors.ts';

const PATIENCE_MS = 10_000;

/** A call that is to happen once. */
export interface KeyedCall {
  /** Stands for who calls: keys are theirs alone. */
  readonly viewer: string;
  readonly key: string;
  /** Of what is asked for: the same key may not be used for anything else. */
  readonly hash: string;
}

/** What came of a call: what is kept of its result, and the result itself where it was made just now. */
export interface Outcome<Result, Kept> {
  readonly kept: Kept;
  readonly made: { readonly result: Result } | null;
}

interface RunningCall {
  readonly hash: string;
  /** What is kept of its result; null where it failed. Never rejects. */
  readonly kept: Promise<unknown>;
}

/** The calls of one process that bear a key and are under way, so that their duplicates wait here and hold no connection. */
export class CallsInFlight {
  readonly #running = new Map<string, RunningCall>();
  readonly #patienceMs: number;

  /** @param patienceMs how long a call waits for another with the same key, in this process and beyond */
  constructor(patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
  }

  /**
   * Makes a call, or waits for the one with the same key that is under way. Where that one fails, the next makes its own try.
   * @param make is given the milliseconds it may yet wait for other processes
   * @throws DomainError IDEMPOTENCY_CONFLICT, SERVICE_UNAVAILABLE where the other takes too long; and what `make` throws
   */
  async join<Result, Kept>(call: KeyedCall, make: (patienceMs: number) => Promise<Outcome<Result, Kept>>): Promise<Outcome<Result, Kept>> {
    const name = JSON.stringify([call.viewer, call.key]);
    const deadline = performance.now() + this.#patienceMs;
    for (;;) {
      const patienceMs = Math.ceil(deadline - performance.now());
      if (patienceMs <= 0) throw stillRunning();
      const running = this.#running.get(name);
      if (running === undefined) return this.#start(name, call.hash, make(patienceMs));
      const kept = await atMost(running.kept, patienceMs);
      if (kept === null) continue;
      if (running.hash !== call.hash) throw idempotencyConflict();
      return { kept: kept as Kept, made: null };
    }
  }

  #start<Result, Kept>(name: string, hash: string, outcome: Promise<Outcome<Result, Kept>>): Promise<Outcome<Result, Kept>> {
    const settled = outcome.then(
      ({ kept }) => kept,
      () => null,
    );
    this.#running.set(name, { hash, kept: settled.finally(() => this.#running.delete(name)) });
    return outcome;
  }
}

/** IDEMPOTENCY_CONFLICT: the key belongs to a call that asked for something else. */
export function idempotencyConflict(): DomainError {
  return new DomainError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used for another call.', { field: 'input.idempotencyKey' });
}

/** SERVICE_UNAVAILABLE: the call of the same key has not ended in the time a duplicate waits for it. */
export function stillRunning(): DomainError {
  return new DomainError('SERVICE_UNAVAILABLE', 'The first call with this idempotency key is still running; try again.', {
    field: 'input.idempotencyKey',
  });
}

function atMost<Value>(work: Promise<Value>, milliseconds: number): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const timer = setTimeout(() => reject(stillRunning()), milliseconds);
    void work.then(value => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
