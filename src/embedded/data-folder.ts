import { chmod, chown, mkdir, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { errorCodeOf, reasonOf, StartError } from '../errors.ts';
import type { PostgresAccount } from './postgres-account.ts';

/** What the default data folder depends on. */
export interface DataFolderPlace {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly isRoot: boolean;
  /** The user's folder for application data, from XDG_DATA_HOME or LOCALAPPDATA; null if not set. */
  readonly userDataHome: string | null;
}

/** The data folder if none is configured: in the user's folder for application data; for root, a system folder. */
export function defaultDataFolder(place: DataFolderPlace): string {
  if (place.platform === 'win32') return join(place.userDataHome ?? join(place.home, 'AppData', 'Local'), 'sessiongraph');
  if (place.platform === 'darwin')
    return place.isRoot ? '/Library/Application Support/sessiongraph' : join(place.home, 'Library/Application Support/sessiongraph');
  if (place.isRoot) return '/var/lib/sessiongraph';
  return join(place.userDataHome ?? join(place.home, '.local/share'), 'sessiongraph');
}

/** The absolute path of the configured data folder, else of the default one. The folder may not exist yet. */
export function dataFolderPath(configured: string | null, userDataHome: string | null): string {
  if (configured !== null) return resolve(configured);
  return defaultDataFolder({ platform: process.platform, home: homedir(), isRoot: isRoot(), userDataHome });
}

/** Whether this process is root; false on systems without a root user. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Creates the data folder and its parents, open to this user only.
 * @returns the path without symbolic links
 * @throws StartError if it cannot be created
 */
export async function prepareDataFolder(path: string): Promise<string> {
  const mode = isRoot() ? 0o711 : 0o700;
  try {
    const first = await mkdir(path, { recursive: true, mode });
    // The umask may have removed permissions that the account of Postgres needs.
    for (let created = path; first !== undefined && created.length >= first.length; created = dirname(created)) await chmod(created, mode);
    return await realpath(path);
  } catch (error) {
    throw new StartError(`The data folder ${path} cannot be created: ${reasonOf(error)}\nName another one in SESSIONGRAPH_DATA.`);
  }
}

/**
 * Lets the account that runs Postgres enter the data folder. Other users may then enter it too, but not list its files.
 * @throws StartError if a folder above is closed to that account; the message names it
 */
export async function makeReachable(folder: string, account: PostgresAccount): Promise<void> {
  const { uid, mode } = await stat(folder);
  if (!(await canEnter(folder, account)) && uid === process.getuid?.()) await chmod(folder, (mode & 0o777) | 0o711);
  const closed = await firstClosedFolder(folder, account);
  if (closed === null) return;
  throw new StartError(
    `Postgres refuses to run as root, so it runs as the user ${account.name}, who cannot enter ${closed}.\n` +
      `Either open that folder (chmod o+x "${closed}") or name a data folder elsewhere in SESSIONGRAPH_DATA, such as /var/lib/sessiongraph.`,
  );
}

/** The topmost folder of a path, itself included, that an account may not enter; null if it may enter all of them. */
export async function firstClosedFolder(path: string, account: PostgresAccount): Promise<string | null> {
  const parent = dirname(path);
  const above = parent === path ? null : await firstClosedFolder(parent, account);
  return above ?? ((await canEnter(path, account)) ? null : path);
}

async function canEnter(folder: string, account: PostgresAccount): Promise<boolean> {
  const { uid, gid, mode } = await stat(folder);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  return (mode & bit) !== 0;
}

/**
 * Writes a file of the data folder, completely or not at all. Only the folder's owner can read it.
 * @throws StartError if this user may not write to the folder
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

/** If root creates a file in another user's folder, gives the file to that user, who may later start without root. */
export async function giveToFolderOwner(folder: string, path: string): Promise<void> {
  if (!isRoot()) return;
  const { uid, gid } = await stat(folder);
  if (uid !== 0) await chown(path, uid, gid);
}

/** Turns a refused access to the data folder into a StartError. Other errors are returned unchanged. */
export function explainAccess(folder: string, error: unknown): unknown {
  if (!['EACCES', 'EPERM', 'EROFS'].includes(errorCodeOf(error) ?? '')) return error;
  return new StartError(
    `This user may not write to the data folder ${folder}: ${reasonOf(error)}\n` +
      'Start as the user that owns it, or name another folder in SESSIONGRAPH_DATA.',
  );
}
