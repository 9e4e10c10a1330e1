import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { runSql } from './sql.ts';
import { databaseUrl, type TestServer } from './test-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    testServer: TestServer;
  }
}

/** A database for one test or test file. */
export interface TestDatabase {
  readonly url: string;
  /** Drops the database, even if there are open connections to it. */
  close(): Promise<void>;
}

/**
 * Creates a database with all migrations applied and no rows, cloned from the template of this test run.
 * @param options.empty creates it without migrations, for tests of the migrations themselves
 */
export async function createTestDatabase(options: { empty?: boolean } = {}): Promise<TestDatabase> {
  const { adminUrl, template, prefix } = inject('testServer');
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await runSql(adminUrl, `create database "${name}" template ${options.empty === true ? 'template0' : `"${template}"`}`);
  return {
    url: databaseUrl(adminUrl, name),
    close: async () => {
      await runSql(adminUrl, `drop database if exists "${name}" with (force)`);
    },
  };
}
