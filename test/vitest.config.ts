import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { TEST_WAIT_MS } from './support/wait-time.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Vite would give our files the ES modules of graphql, while Node gives the CommonJS ones to its dependents: two copies that refuse each other. */
const resolve = { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve('graphql') }] };

/** A test waits several times, a hook at most a few; the longest of all takes a tenth of this. */
const time = { testTimeout: 3 * TEST_WAIT_MS, hookTimeout: 3 * TEST_WAIT_MS, expect: { poll: { timeout: TEST_WAIT_MS, interval: 10 } } };

/** Two projects: `unit` needs nothing; `database` (all the rest) gets a real Postgres from global-setup.ts. */
export default defineConfig({
  root,
  test: {
    maxWorkers: 2,
    projects: [
      {
        root,
        resolve,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], ...time },
      },
      {
        root,
        resolve,
        test: {
          name: 'database',
          include: ['test/**/*.test.ts'],
          exclude: ['test/unit/**', 'test/soak/**'],
          globalSetup: ['test/global-setup.ts'],
          ...time,
        },
      },
    ],
  },
});
