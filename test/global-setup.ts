import type { TestProject } from 'vitest/node';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { migrate } from '../src/postgres/migrations.ts';
import { openTestServer } from './support/test-server.ts';

/**
 * Once before the database tests: takes the Postgres at TEST_DATABASE_URL, else starts an embedded one, and makes there the
 * template that every test file clones.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const outside = process.env.TEST_DATABASE_URL;
  const postgres = outside === undefined || outside === '' ? await startScratchPostgres() : null;
  try {
    const { server, close } = await openTestServer(postgres?.url ?? String(outside), migrate);
    project.provide('testServer', server);
    return async () => {
      await close();
      await postgres?.close();
    };
  } catch (error) {
    await postgres?.close();
    throw error;
  }
}
