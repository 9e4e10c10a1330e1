import { chmod, chown, mkdir, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import type { PostgresAccount } from './postgres-account.ts';

/** What the default place of the data depends on. */
export interface DataFolderPlace {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly isRoot: boolean;
  /** The user's data folder where the system names one (XDG_DATA_HOME, LOCALAPPDATA), else null. */
  readonly userDataHome: string | null;
}

/** The folder of the data where none is configured: the user's, for root a system one. */
export function defaultDataFolder(place: DataFolderPlace): string {
  if (place.platform === 'win32') return join(place.userDataHome ?? join(place.home, 'AppData', 'Local'), 'sessiongraph');
  if (place.platform === 'darwin')
    return place.isRoot ? '/Library/Application Support/sessiongraph' : join(place.home, 'Library/Application Support/sessiongraph');
  if (place.isRoot) return '/var/lib/sessiongraph';
  return join(place.userDataHome ?? join(place.home, '.local/share'), 'sessiongraph');
}

/** The data folder as configured, else the default one of this system and user; absolute, not yet made. */
export function dataFolderPath(configured: string | null, userDataHome: string | null): string {
  if (configured !== null) return resolve(configured);
  return defaultDataFolder({ platform: process.platform, home: homedir(), isRoot: isRoot(), userDataHome });
}

/** Whether this process may become any user; false on systems without such a one. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Makes the data folder, with its parents, for this user alone, and gives its path without symbolic links.
 * @throws StartError where it cannot be made or written
 */
export async function prepareDataFolder(path: string): Promise<string> {
  const mode = isRoot() ? 0o711 : 0o700;
  try {
    const first = await mkdir(path, { recursive: true, mode });
    // The umask may have taken bits from the mode that the account of Postgres needs.
    for (let made = path; first !== undefined && made.length >= first.length; made = dirname(made)) await chmod(made, mode);
    return await realpath(path);
  } catch (error) {
    throw new StartError(`The data folder ${path} cannot be made: ${reasonOf(error)}\nName another one in SESSIONGRAPH_DATA.`);
  }
}

/**
 * Lets the account that runs Postgres pass through the data folder: others may then enter it, but list nothing.
 * @throws StartError naming the first folder above it that is closed to that account
 */
export async function makeReachable(folder: string, account: PostgresAccount): Promise<void> {
  const { uid, mode } = await stat(folder);
  if (!(await canPass(folder, account)) && uid === process.getuid?.()) await chmod(folder, (mode & 0o777) | 0o711);
  const closed = await firstClosedFolder(folder, account);
  if (closed === null) return;
  throw new StartError(
    `Postgres refuses to run as root, so it runs as the user ${account.name}, who cannot enter ${closed}.\n` +
      `Either open that folder (chmod o+x "${closed}") or name a data folder elsewhere in SESSIONGRAPH_DATA, such as /var/lib/sessiongraph.`,
  );
}

/** The topmost folder on the way to a path, itself included, that an account may not pass; null where all are open. */
export async function firstClosedFolder(path: string, account: PostgresAccount): Promise<string | null> {
  const parent = dirname(path);
  const above = parent === path ? null : await firstClosedFolder(parent, account);
  return above ?? ((await canPass(path, account)) ? null : path);
}

async function canPass(folder: string, account: PostgresAccount): Promise<boolean> {
  const { uid, gid, mode } = await stat(folder);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  return (mode & bit) !== 0;
}

/**
 * Writes a file of the data folder whole or not at all, readable by the folder's owner alone.
 * @throws StartError where the folder is not ours to write
 */
export async function writePrivateFile(folder: string, name: string, content: string): Promise<void> {
  const path = join(folder, name);
  const draft = `${path}.${process.pid}.new`;
  try {
    await writeFile(draft, content, { mode: 0o600 });
    await giveToFolderOwner(folder, draft);
    await rename(draft, path);
  } catch (error) {
    throw explainAccess(folder, error);
  }
}

/** What root makes in a folder of another user belongs to that user, who may come back without root. */
export async function giveToFolderOwner(folder: string, path: string): Promise<void> {
  if (!isRoot()) return;
  const { uid, gid } = await stat(folder);
  if (uid !== 0) await chown(path, uid, gid);
}

/** A denied access to the data folder as a StartError; any other error as it is. */
export function explainAccess(folder: string, error: unknown): unknown {
  if (!['EACCES', 'EPERM', 'EROFS'].includes(errorCodeOf(error) ?? '')) return error;
  return new StartError(
    `The data folder ${folder} is not ours to write: ${reasonOf(error)}\n` +
      'Start as the user it belongs to, or name another folder in SESSIONGRAPH_DATA.',
  );
}
