import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Vite would give our files the ES modules of graphql, while Node gives the CommonJS ones to its dependents: two copies that refuse each other. */
const resolve = { alias: [{ find: /^graphql$/, replacement: createRequire(import.meta.url).resolve('graphql') }] };

/** Far above what any test takes: it tells a hanging one from a slow machine. */
const PATIENCE_MS = 180_000;

/** Two projects: `unit` needs nothing; `database` (all the rest) gets a real Postgres from global-setup.ts. */
export default defineConfig({
  root,
  test: {
    maxWorkers: 2,
    projects: [
      {
        root,
        resolve,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: PATIENCE_MS, hookTimeout: PATIENCE_MS },
      },
      {
        root,
        resolve,
        test: {
          name: 'database',
          include: ['test/**/*.test.ts'],
          exclude: ['test/unit/**', 'test/soak/**'],
          globalSetup: ['test/global-setup.ts'],
          testTimeout: PATIENCE_MS,
          hookTimeout: PATIENCE_MS,
        },
      },
    ],
  },
});
