/** How long a test waits for what must come about, in milliseconds: far above what it takes anywhere, to tell what hangs from what is slow. */
export const PATIENCE_MS = 60_000;

/** For `vi.waitUntil` and `vi.waitFor`, whose own time limit is one second; `expect.poll` has its limit from the configuration. */
export const PATIENTLY = { timeout: PATIENCE_MS, interval: 10 };
