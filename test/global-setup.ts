import type { TestProject } from 'vitest/node';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { migrate } from '../src/postgres/migrations.ts';
import { openTestServer } from './support/test-server.ts';

/**
 * Runs once before the database tests. It uses the Postgres at TEST_DATABASE_URL, or starts an embedded one, and creates the template
 * database that every test file clones.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const externalUrl = process.env.TEST_DATABASE_URL;
  const postgres = externalUrl === undefined || externalUrl === '' ? await startScratchPostgres() : null;
  try {
    const { server, close } = await openTestServer(postgres?.url ?? String(externalUrl), migrate);
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
