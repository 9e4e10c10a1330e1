import { DomainError } from '../../errors.ts';

const WAIT_MS = 10_000;

/** A call with an idempotency key. */
export interface KeyedCall {
  /** A hash of the viewer's id. Each viewer has its own keys. */
  readonly viewer: string;
  readonly key: string;
  /** A hash of the field and input. Calls with the same key must have the same. */
  readonly hash: string;
}

/** The outcome of a call. */
export interface Outcome<Result, Stored> {
  /** What is stored of the result. */
  readonly stored: Stored;
  /** The result, if this call executed the mutation. Null if an earlier call did. */
  readonly executed: { readonly result: Result } | null;
}

interface RunningCall {
  readonly hash: string;
  /** What is stored of the result. Null if the call failed. Never rejects. */
  readonly stored: Promise<unknown>;
}

/** The running calls of this process that have an idempotency key. Duplicates wait for them here, without occupying a connection. */
export class CallsInFlight {
  readonly #running = new Map<string, RunningCall>();
  readonly #waitMs: number;

  /** @param waitMs maximum time that a call waits for another with the same key, in this process and in others together */
  constructor(waitMs = WAIT_MS) {
    this.#waitMs = waitMs;
  }

  /**
   * Executes a call, or waits for the running call with the same key. If the running call fails, a waiting one is executed.
   * @param execute gets the milliseconds that it may still wait for other processes
   * @throws DomainError IDEMPOTENCY_CONFLICT, SERVICE_UNAVAILABLE if the running call takes too long, and what `execute` throws
   */
  async join<Result, Stored>(
    call: KeyedCall,
    execute: (waitMs: number) => Promise<Outcome<Result, Stored>>,
  ): Promise<Outcome<Result, Stored>> {
    const name = JSON.stringify([call.viewer, call.key]);
    const deadline = performance.now() + this.#waitMs;
    for (;;) {
      const waitMs = Math.ceil(deadline - performance.now());
      if (waitMs <= 0) throw stillRunning();
      const running = this.#running.get(name);
      if (running === undefined) return this.#start(name, call.hash, execute(waitMs));
      const stored = await withTimeout(running.stored, waitMs);
      if (stored === null) continue;
      if (running.hash !== call.hash) throw idempotencyConflict();
      return { stored: stored as Stored, executed: null };
    }
  }

  #start<Result, Stored>(name: string, hash: string, outcome: Promise<Outcome<Result, Stored>>): Promise<Outcome<Result, Stored>> {
    const settled = outcome.then(
      ({ stored }) => stored,
      () => null,
    );
    this.#running.set(name, { hash, stored: settled.finally(() => this.#running.delete(name)) });
    return outcome;
  }
}

/** IDEMPOTENCY_CONFLICT: the key was used with another field or input. */
export function idempotencyConflict(): DomainError {
  return new DomainError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used for a call with another field or input.', {
    field: 'input.idempotencyKey',
  });
}

/** SERVICE_UNAVAILABLE: the first call with this key did not end while a duplicate waited for it. */
export function stillRunning(): DomainError {
  return new DomainError('SERVICE_UNAVAILABLE', 'The first call with this idempotency key is still running; try again.', {
    field: 'input.idempotencyKey',
  });
}

function withTimeout<Value>(work: Promise<Value>, milliseconds: number): Promise<Value> {
  return new Promise<Value>((resolve, reject) => {
    const timer = setTimeout(() => reject(stillRunning()), milliseconds);
    void work.then(value => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}
