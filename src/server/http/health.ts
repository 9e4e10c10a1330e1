/** Whether this server should receive requests. */
export interface Health {
  /** The current state. Resolves within the timeout, even if the database does not answer. */
  state(): Promise<'ready' | 'draining' | 'database away'>;
  /** Sets the state to `draining` for good. */
  drain(): void;
}

/** What health depends on. */
export interface HealthOptions {
  /** Whether the database answers. */
  readonly isReachable: () => boolean | Promise<boolean>;
  /** A database that takes longer to answer counts as unreachable. */
  readonly timeoutMs?: number;
}

/** Every call of `state` checks the database; concurrent calls share one check. */
export function createHealth({ isReachable, timeoutMs = 2_000 }: HealthOptions): Health {
  let isDraining = false;
  let pending: Promise<boolean> | null = null;

  async function checkDatabase(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>(resolve => {
      timer = setTimeout(resolve, timeoutMs, false);
    });
    try {
      return await Promise.race([isReachable(), timeout]);
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
      pending = null;
    }
  }

  return {
    async state() {
      if (isDraining) return 'draining';
      pending ??= checkDatabase();
      const isUp = await pending;
      if (isDraining) return 'draining';
      return isUp ? 'ready' : 'database away';
    },
    drain() {
      isDraining = true;
    },
  };
}
