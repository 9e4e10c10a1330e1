import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { TEST_WAIT_MS } from './support/wait-time.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Resolves graphql to its CommonJS build. By default Vite would load the ES modules for our files, but Node loads the CommonJS build for
 * dependencies, and graphql refuses to work with two copies of itself.
 */
const resolve = { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve('graphql') }] };

/** A test or hook may contain several waits of up to TEST_WAIT_MS. The slowest test takes a tenth of its timeout. */
const timeouts = {
  testTimeout: 3 * TEST_WAIT_MS,
  hookTimeout: 3 * TEST_WAIT_MS,
  expect: { poll: { timeout: TEST_WAIT_MS, interval: 10 } },
};

/** Two projects: `unit` needs no database; `database`, which is all other tests, gets a real Postgres from global-setup.ts. */
export default defineConfig({
  root,
  test: {
    maxWorkers: 2,
    projects: [
      {
        root,
        resolve,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], ...timeouts },
      },
      {
        root,
        resolve,
        test: {
          name: 'database',
          include: ['test/**/*.test.ts'],
          exclude: ['test/unit/**', 'test/soak/**'],
          globalSetup: ['test/global-setup.ts'],
          ...timeouts,
        },
      },
    ],
  },
});
