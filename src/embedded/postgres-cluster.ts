import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import { isRoot, writePrivateFile } from './data-folder.ts';
import { findPostgresAccount, type PostgresAccount, spawnIdentity } from './postgres-account.ts';
import { cannotRun, lastLines, type PostgresBinaries } from './postgres-binaries.ts';

/** The superuser and the database of the embedded Postgres. */
export const POSTGRES_NAME = 'sessiongraph';

/** Part of the folder's name, because the next major version cannot read the files. */
const MAJOR_VERSION = 18;
const PASSWORD_FILE = 'password';

/** The folder with the files of Postgres, which Postgres calls a cluster. */
export function clusterPath(dataFolder: string): string {
  return join(dataFolder, `postgres-${MAJOR_VERSION}`);
}

/**
 * The account that must run Postgres; null for the user of this process. Only root needs another account, and a cluster always stays with
 * the account that created it.
 * @throws StartError if the cluster belongs to a user that this process cannot become, or root finds no account
 */
export async function findClusterAccount(cluster: string): Promise<PostgresAccount | null> {
  const owner = await stat(cluster).catch(() => null);
  if (!isRoot()) {
    if (owner !== null && process.getuid !== undefined && owner.uid !== process.getuid()) {
      throw new StartError(
        `${cluster} belongs to another user (uid ${owner.uid}). Start as that user, or name another folder in SESSIONGRAPH_DATA.`,
      );
    }
    return null;
  }
  if (owner !== null && owner.uid !== 0) return { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  return findPostgresAccount();
}

/** Where and how to create a cluster. */
export interface ClusterOptions {
  readonly folder: string;
  readonly binaries: PostgresBinaries;
  readonly account: PostgresAccount | null;
  readonly durable: boolean;
  readonly log: Pick<Logger, 'info'>;
}

/**
 * Creates the cluster if there is none, completely or not at all.
 * @returns the superuser's password
 * @throws StartError if it cannot be created, or its password file is missing
 */
export async function ensureCluster(options: ClusterOptions): Promise<string> {
  const { folder, account, log } = options;
  const cluster = clusterPath(folder);
  const known = await readPassword(folder);
  if ((await stat(cluster).catch(() => null)) !== null) {
    if (known !== null) return known;
    throw new StartError(
      `The file ${join(folder, PASSWORD_FILE)} is missing. Without it the data in ${cluster} cannot be opened. Restore it from a backup.`,
    );
  }
  const password = known ?? randomBytes(24).toString('base64url');
  if (known === null) await writePrivateFile(folder, PASSWORD_FILE, `${password}\n`);
  const draft = `${cluster}.new`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  const passwordFile = join(folder, `${PASSWORD_FILE}.initdb`);
  try {
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    if (account !== null) await Promise.all([draft, passwordFile].map(path => chown(path, account.uid, account.gid)));
    await runInitdb(draft, passwordFile, options);
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, cluster);
  log.info({ folder }, 'created a new database cluster');
  return password;
}

async function readPassword(folder: string): Promise<string | null> {
  try {
    return (await readFile(join(folder, PASSWORD_FILE), 'utf8')).trim();
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return null;
    throw new StartError(`The data folder ${folder} belongs to another user: ${reasonOf(error)}`);
  }
}

async function runInitdb(cluster: string, passwordFile: string, { folder, binaries, account, durable }: ClusterOptions): Promise<void> {
  // ICU compares and folds text. The locale of the C library only has to be a UTF-8 one, whose name depends on the system.
  const ctype = process.platform === 'win32' ? 'C' : process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8';
  const otherCategories = ['messages', 'monetary', 'numeric', 'time'].map(category => `--lc-${category}=C`);
  const child = spawn(
    binaries.initdb,
    [
      `--pgdata=${cluster}`,
      `--username=${POSTGRES_NAME}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=icu',
      '--icu-locale=und',
      `--lc-ctype=${ctype}`,
      `--lc-collate=${ctype}`,
      ...otherCategories,
      ...(durable ? [] : ['--no-sync']),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder, ...spawnIdentity(account), windowsHide: true },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text));
  const [code] = await once(child, 'close').catch(error => Promise.reject(cannotRun(binaries.initdb, error)));
  if (code !== 0) throw new StartError(`Postgres could not create its files in ${cluster}:\n${lastLines(output)}`);
}
