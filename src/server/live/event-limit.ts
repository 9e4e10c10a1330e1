/** Runs work immediately or, if too much is running, later. Work that does not wait for anything always runs immediately. */
export type LimitEvents = <Result>(work: () => Result | Promise<Result>) => Result | Promise<Result>;

export interface EventLimitOptions {
  /** How much work may run at the same time, whatever memory it needs. */
  readonly always: number;
  /** How much work may run at the same time while the memory allows it. */
  readonly most: number;
  /** Whether little memory is in use. */
  readonly hasMemory: () => boolean;
}

/**
 * Limits concurrent executions for subscription events. Each holds its rows and its response in memory, so few may run while these are large.
 * While they are small, many may run: executions read by key in shared statements, and the more of them wait, the fewer statements are sent.
 */
export function createEventLimit({ always, most, hasMemory }: EventLimitOptions): LimitEvents {
  const waiting: (() => void)[] = [];
  let running = 0;

  const hasRoom = () => running < always || (running < most && hasMemory());

  function release(): void {
    running -= 1;
    while (waiting.length > 0 && hasRoom()) {
      running += 1;
      waiting.shift()?.();
    }
  }

  /** Runs work that has been counted as running. */
  function run<Result>(work: () => Result | Promise<Result>): Result | Promise<Result> {
    let isWaiting = false;
    try {
      const result = work();
      if (result instanceof Promise) {
        isWaiting = true;
        result.then(release, release);
      }
      return result;
    } finally {
      if (!isWaiting) release();
    }
  }

  return work => {
    // `release` counts the work that it starts. A promise keeps the work in the trace of its own operation.
    if (!hasRoom()) return new Promise<void>(resolve => waiting.push(resolve)).then(() => run(work));
    running += 1;
    return run(work);
  };
}
