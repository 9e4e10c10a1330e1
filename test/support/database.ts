import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { databaseUrl, execute, type TestServer } from './test-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    testServer: TestServer;
  }
}

/** A database of one test file's own. */
export interface TestDatabase {
  readonly url: string;
  /** Drops it, whoever is still connected. */
  close(): Promise<void>;
}

/**
 * An empty database with all migrations applied, cloned from the run's template.
 * @param options.empty without migrations, for tests of the migrations themselves
 */
export async function createTestDatabase(options: { empty?: boolean } = {}): Promise<TestDatabase> {
  const { adminUrl, template, prefix } = inject('testServer');
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await execute(adminUrl, `create database "${name}" template ${options.empty === true ? 'template0' : `"${template}"`}`);
  return {
    url: databaseUrl(adminUrl, name),
    close: () => execute(adminUrl, `drop database if exists "${name}" with (force)`),
  };
}
