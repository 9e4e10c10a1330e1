import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { TEST_WAIT_MS } from './support/wait-time.ts';

/** Tests that run for minutes. Files run one after the other, because parallel files would distort the measurements. */
export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  // One copy of graphql, as in vitest.config.ts.
  resolve: { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve('graphql') }] },
  test: {
    include: ['test/soak/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    fileParallelism: false,
    testTimeout: 900_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: TEST_WAIT_MS, interval: 10 } },
  },
});
