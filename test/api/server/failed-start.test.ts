import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { type Config, readConfig } from '../../../src/config.ts';
import { createLog } from '../../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.close();
});

async function otherConnections(): Promise<readonly unknown[]> {
  const { rows } = await client.query(
    'select application_name from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  );
  return rows;
}

/** In the order in which createApp reads them. The last ones come when the database, the keys and the event log are open. */
const READ_LATE = ['auth', 'redisUrl', 'rateLimits', 'host', 'graphiql', 'sessions'] as const satisfies readonly (keyof Config)[];

it.each(READ_LATE)('createApp closes what it has opened if the step that reads `%s` fails', async name => {
  const config = readConfig({ PORT: '0' });
  const resources = process.getActiveResourcesInfo().sort();
  Object.defineProperty(config, name, {
    get() {
      throw new Error(`no ${name}`);
    },
  });
  await expect(createApp({ config, databaseUrl: database.url, log: createLog('silent') })).rejects.toThrow(`no ${name}`);
  await expect.poll(otherConnections).toEqual([]);
  await expect.poll(() => process.getActiveResourcesInfo().sort(), { timeout: 1_000 }).toEqual(resources);
});
