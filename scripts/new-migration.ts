import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { migrationsFolder } from '../src/postgres/migrations.ts';
import { diffSchemas } from './schema-diff.ts';

const USAGE = `npm run new-migration -- <name>

Writes prisma/migrations/<now>_<name>/migration.sql: the SQL from prisma/schema.prisma as last committed to the file as it
is now. Read it before you commit it: a renamed column comes out as one dropped and one added. What schema.prisma cannot
say, add by hand, there and in prisma/extras.sql, and let "npm run check-drift" compare the two.
`;

const MIGRATIONS = migrationsFolder();
const SCHEMA = join(dirname(MIGRATIONS), 'schema.prisma');

/** Null where nothing was committed yet. */
async function committedSchema(): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)('git', ['show', 'HEAD:./schema.prisma'], {
      cwd: dirname(MIGRATIONS),
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  } catch (error) {
    if (error instanceof Error && /does not exist|exists on disk, but not in/.test(error.message)) return null;
    throw error;
  }
}

async function difference(): Promise<string> {
  const [before, after] = await Promise.all([committedSchema(), readFile(SCHEMA, 'utf8')]);
  const scratch = await startScratchPostgres();
  try {
    return await diffSchemas(scratch.url, before, after);
  } finally {
    await scratch.close();
  }
}

async function writeMigration(name: string): Promise<string> {
  const sql = await difference();
  const now = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
  const folder = join(MIGRATIONS, `${now}_${name}`);
  await mkdir(folder);
  const content = sql === '' ? '-- schema.prisma is as it was committed: write the migration here.\n' : `${sql}\n`;
  await writeFile(join(folder, 'migration.sql'), content);
  return join(folder, 'migration.sql');
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { help: { type: 'boolean', short: 'h' } } });
const [name] = positionals;
if (values.help === true) process.stdout.write(USAGE);
else if (name === undefined || positionals.length > 1 || !/^[a-z0-9]+([_-][a-z0-9]+)*$/.test(name)) {
  process.stderr.write(`A migration needs one name of lower-case letters, digits, "_" and "-".\n\n${USAGE}`);
  process.exitCode = 1;
} else process.stdout.write(`Wrote ${await writeMigration(name)}\n`);
