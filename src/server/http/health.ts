/** Whether this server should be sent requests. */
export interface Health {
  /** `ready`, or in a word why not; answers within a bounded time. */
  state(): Promise<'ready' | 'draining' | 'database away'>;
  /** From now on it is draining, for good. */
  drain(): void;
}

/** What health is made of. */
export interface HealthOptions {
  /** Whether the database answers. */
  readonly isReachable: () => boolean | Promise<boolean>;
  /** No answer for so long counts as none. */
  readonly patienceMs?: number;
}

/** Asks the database anew each time, but only once at a time. */
export function createHealth({ isReachable, patienceMs = 2_000 }: HealthOptions): Health {
  let draining = false;
  let asking: Promise<boolean> | null = null;

  async function ask(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<boolean>(resolve => {
      timer = setTimeout(resolve, patienceMs, false);
    });
    try {
      return await Promise.race([isReachable(), patience]);
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
      asking = null;
    }
  }

  return {
    async state() {
      if (draining) return 'draining';
      asking ??= ask();
      const reachable = await asking;
      if (draining) return 'draining';
      return reachable ? 'ready' : 'database away';
    },
    drain() {
      draining = true;
    },
  };
}
