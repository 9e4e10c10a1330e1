import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { parseConnectionUrl } from '../src/postgres/connection-url.ts';
import { migrate, migrationsFolder } from '../src/postgres/migrations.ts';
import { compareCatalogs, describeCatalog } from './database-catalog.ts';
import { diffSchemas } from './schema-diff.ts';

const USAGE = `npm run check-drift -- [--url URL]

Tells whether the migrations make the database that prisma/schema.prisma and prisma/extras.sql describe: exit code 0 if so.

  --url URL   a Postgres to make two databases on and drop them again (default: an embedded one)
`;

const PRISMA_FOLDER = dirname(migrationsFolder());

async function withClient<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: parseConnectionUrl(url).connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The catalog of a new database after some work on it; the database is dropped again. */
async function catalogAfter(adminUrl: string, work: (url: string) => Promise<unknown>): Promise<string[]> {
  const name = `sessiongraph_drift_${randomBytes(6).toString('hex')}`;
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  await withClient(adminUrl, client => client.query(`create database ${name} template template0 encoding 'UTF8'`));
  try {
    await work(url.href);
    return await withClient(url.href, describeCatalog);
  } finally {
    await withClient(adminUrl, client => client.query(`drop database ${name} with (force)`));
  }
}

async function findDrift(adminUrl: string): Promise<string[]> {
  const migrated = await catalogAfter(adminUrl, url => migrate(url));
  const described = await catalogAfter(adminUrl, async url => {
    const schema = await readFile(join(PRISMA_FOLDER, 'schema.prisma'), 'utf8');
    const extras = await readFile(join(PRISMA_FOLDER, 'extras.sql'), 'utf8');
    const sql = await diffSchemas(url, null, schema);
    await withClient(url, client => client.query(`${sql};\n${extras}`));
  });
  const { onlyOne, onlyOther } = compareCatalogs(migrated, described);
  return [...onlyOne.map(line => `  only in the migrations: ${line}`), ...onlyOther.map(line => `  only in schema.prisma:  ${line}`)];
}

const { values } = parseArgs({ options: { url: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
if (values.help === true) process.stdout.write(USAGE);
else {
  const scratch = values.url === undefined ? await startScratchPostgres() : null;
  try {
    const drift = await findDrift(values.url ?? scratch?.url ?? '');
    if (drift.length === 0) process.stdout.write('The migrations and prisma/schema.prisma agree.\n');
    else {
      process.stderr.write(`The migrations and prisma/schema.prisma (with prisma/extras.sql) differ:\n${drift.sort().join('\n')}\n`);
      process.exitCode = 1;
    }
  } finally {
    await scratch?.close();
  }
}
