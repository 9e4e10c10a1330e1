import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { StartError } from '../errors.ts';

const run = promisify(execFile);

/** The ordinary user that Postgres runs as where we are root: Postgres refuses to run as root. */
export interface PostgresAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const OWN_ACCOUNT = 'sessiongraph';

/** In the order of preference; `_postgres` is macOS's. */
const KNOWN_ACCOUNTS = [OWN_ACCOUNT, 'postgres', '_postgres'];

/** How systems make a system user: Debian, Fedora and their kin; Alpine. */
const MAKE_ACCOUNT: readonly (readonly [string, readonly string[]])[] = [
  ['useradd', ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', OWN_ACCOUNT]],
  ['adduser', ['-S', '-D', '-H', OWN_ACCOUNT]],
];

/**
 * An ordinary user of this system for Postgres: an existing one, else a new system user `sessiongraph`, else `nobody`.
 * @throws StartError where the system has none
 */
export async function findPostgresAccount(): Promise<PostgresAccount> {
  for (const name of KNOWN_ACCOUNTS) {
    const account = await lookUpAccount(name);
    if (account !== null) return account;
  }
  for (const [command, options] of MAKE_ACCOUNT) {
    const made = await run(command, options).then(
      () => lookUpAccount(OWN_ACCOUNT),
      () => null,
    );
    if (made !== null) return made;
  }
  const nobody = await lookUpAccount('nobody');
  if (nobody !== null) return nobody;
  throw new StartError(
    'Postgres refuses to run as root, and there is no other user: make one (useradd --system sessiongraph), or start as one.',
  );
}

async function lookUpAccount(name: string): Promise<PostgresAccount | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}
