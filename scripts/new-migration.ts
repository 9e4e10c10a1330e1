import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startScratchPostgres } from '../src/embedded/scratch-postgres.ts';
import { reasonOf } from '../src/errors.ts';
import { migrationsFolder } from '../src/postgres/migrations.ts';
import { CommandError, parseWords, runCommand, UsageError } from './command-line.ts';
import { diffSchemas } from './schema-diff.ts';

const USAGE = `npm run new-migration -- <name>

Writes prisma/migrations/<time>_<name>/migration.sql: the SQL that leads from the committed prisma/schema.prisma to the
current one. Read it before you commit it: a renamed column shows as one dropped and one added column. Add by hand what
schema.prisma cannot express, there and in prisma/extras.sql. "npm run check-drift" compares the two.
`;

const MIGRATIONS = migrationsFolder();
const SCHEMA = join(dirname(MIGRATIONS), 'schema.prisma');

/** The text of schema.prisma in the last commit, or null if it was never committed. */
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

/** The SQL from the committed schema to the current one. */
async function difference(): Promise<string> {
  const [before, after] = await Promise.all([committedSchema(), readFile(SCHEMA, 'utf8')]);
  const scratch = await startScratchPostgres();
  try {
    return await diffSchemas(scratch.url, before, after);
  } finally {
    await scratch.close();
  }
}

/** @returns the path of the new file */
async function writeMigration(name: string): Promise<string> {
  const sql = await difference();
  const now = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
  const folder = join(MIGRATIONS, `${now}_${name}`);
  await mkdir(folder);
  const content = sql === '' ? '-- schema.prisma has not changed since the last commit. Write the migration here.\n' : `${sql}\n`;
  await writeFile(join(folder, 'migration.sql'), content);
  return join(folder, 'migration.sql');
}

async function run(words: readonly string[]): Promise<void> {
  const { positionals } = parseWords({ args: [...words], allowPositionals: true, options: {} });
  const [name, ...others] = positionals;
  if (name === undefined || others.length > 0 || !/^[a-z0-9]+([_-][a-z0-9]+)*$/.test(name)) {
    throw new UsageError('Give one name of lower-case letters, digits, "_" and "-".');
  }
  let path: string;
  try {
    path = await writeMigration(name);
  } catch (error) {
    throw new CommandError(`No migration was written: ${reasonOf(error)}`);
  }
  process.stdout.write(`Wrote ${path}\n`);
}

await runCommand({ name: 'new-migration', usage: USAGE, run });
