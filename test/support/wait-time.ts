/**
 * How long a test waits for an expected outcome, in milliseconds. It is far above what any step takes even on a slow machine,
 * so a test that reaches it hangs.
 */
export const TEST_WAIT_MS = 60_000;

/** Options for `vi.waitUntil` and `vi.waitFor`, which give up after one second by default. `expect.poll` is set in the vitest configuration. */
export const WAIT_OPTIONS = { timeout: TEST_WAIT_MS, interval: 10 };
