import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { type DedicatedConnection, withDedicatedConnection } from '../src/postgres/dedicated-connection.ts';
import { migrate, migrationsFolder } from '../src/postgres/migrations.ts';
import { CommandError, parseWords, runCommand } from './command-line.ts';
import { compareCatalogs, describeCatalog } from './database-catalog.ts';
import { diffSchemas } from './schema-diff.ts';

const USAGE = `npm run check-drift -- [--url URL]

Checks that the migrations create the database that prisma/schema.prisma and prisma/extras.sql describe. Exit code 1 if not.

  --url URL   a Postgres on which two databases are created and dropped again (default: an embedded one)
`;

const PRISMA_FOLDER = dirname(migrationsFolder());

function withClient<Result>(url: string, work: (client: DedicatedConnection['client']) => Promise<Result>): Promise<Result> {
  return withDedicatedConnection({ url, name: 'sessiongraph check-drift' }, ({ client }) => work(client));
}

/** Creates a database, fills it, describes its catalog and drops it again. */
async function catalogAfter(adminUrl: string, fill: (url: string) => Promise<unknown>): Promise<string[]> {
  const name = `sessiongraph_drift_${randomBytes(6).toString('hex')}`;
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  await withClient(adminUrl, client => client.query(`create database ${name} template template0 encoding 'UTF8'`));
  try {
    await fill(url.href);
    return await withClient(url.href, describeCatalog);
  } finally {
    await withClient(adminUrl, client => client.query(`drop database ${name} with (force)`));
  }
}

/** The differences, one per line. */
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

async function run(words: readonly string[]): Promise<void> {
  const { values } = parseWords({ args: [...words], options: { url: { type: 'string' } } });
  const scratch = values.url === undefined ? await startScratchPostgres() : null;
  try {
    const drift = await findDrift(values.url ?? scratch?.url ?? '');
    if (drift.length > 0) {
      throw new CommandError(`The migrations and prisma/schema.prisma (with prisma/extras.sql) differ:\n${drift.sort().join('\n')}`);
    }
    process.stdout.write('The migrations and prisma/schema.prisma agree.\n');
  } finally {
    await scratch?.close();
  }
}

await runCommand({ name: 'check-drift', usage: USAGE, run });
