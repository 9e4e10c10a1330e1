import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { StartError } from '../errors.ts';

const run = promisify(execFile);

/** The ordinary user that runs Postgres if this process is root. Postgres refuses to run as root. */
export interface PostgresAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const OWN_ACCOUNT = 'sessiongraph';

/** In the order of preference. macOS has `_postgres`. */
const KNOWN_ACCOUNTS = [OWN_ACCOUNT, 'postgres', '_postgres'];

/** Commands that create a system user: on Debian, Fedora and their derivatives; on Alpine. */
const CREATE_ACCOUNT: readonly (readonly [string, readonly string[]])[] = [
  ['useradd', ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', OWN_ACCOUNT]],
  ['adduser', ['-S', '-D', '-H', OWN_ACCOUNT]],
];

/**
 * An ordinary user to run Postgres: an existing one, else a new system user `sessiongraph`, else `nobody`.
 * @throws StartError if the system has none
 */
export async function findPostgresAccount(): Promise<PostgresAccount> {
  for (const name of KNOWN_ACCOUNTS) {
    const account = await lookUpAccount(name);
    if (account !== null) return account;
  }
  for (const [command, options] of CREATE_ACCOUNT) {
    const created = await run(command, options).then(
      () => lookUpAccount(OWN_ACCOUNT),
      () => null,
    );
    if (created !== null) return created;
  }
  const nobody = await lookUpAccount('nobody');
  if (nobody !== null) return nobody;
  throw new StartError(
    'Postgres refuses to run as root, and this system has no other user. Create one (useradd --system sessiongraph), or start as one.',
  );
}

/** The options of `spawn` for a process that runs as this account; none for the user of this process. */
export function spawnIdentity(account: PostgresAccount | null): { uid: number; gid: number } | Record<never, never> {
  return account === null ? {} : { uid: account.uid, gid: account.gid };
}

async function lookUpAccount(name: string): Promise<PostgresAccount | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}
