import { reasonOf, StartError } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { parseConnectionUrl } from '../postgres/connection-url.ts';
import { withDedicatedConnection } from '../postgres/dedicated-connection.ts';
import type { DatabaseLog, OpenDatabase } from './open-database.ts';

const OLDEST_VERSION = 15;
const CONNECT_TIMEOUT_MS = 10_000;

const never = new Promise<string>(() => undefined);

/**
 * Checks that a Postgres which this process did not start can be used: version, encoding and character types.
 * @throws StartError if it cannot
 */
export async function openOutsideDatabase(url: string, log: Pick<DatabaseLog, 'warn'>): Promise<OpenDatabase> {
  const { description } = parseConnectionUrl(url);
  const { version, encoding, ctype } = await readFacts(url, description);
  const major = Math.floor(version / 10_000);
  if (major < OLDEST_VERSION)
    throw new StartError(`The database ${description} is Postgres ${major}; Sessiongraph needs ${OLDEST_VERSION} or newer.`);
  if (encoding !== 'UTF8') {
    throw new StartError(
      `The database ${description} is encoded as ${encoding}; Sessiongraph needs UTF8. Create another one:\n` +
        '  createdb --encoding=UTF8 --template=template0 sessiongraph',
    );
  }
  if (['C', 'POSIX'].includes(ctype))
    log.warn(`the database ${description} has LC_CTYPE ${ctype}: word search distinguishes upper and lower case outside ASCII`);
  return { url, description: `Postgres at ${description}`, failed: never, drain: async () => undefined, close: async () => undefined };
}

interface DatabaseFacts {
  /** Such as 150004 for Postgres 15.4. */
  readonly version: number;
  readonly encoding: string;
  readonly ctype: string;
}

async function readFacts(url: string, description: string): Promise<DatabaseFacts> {
  try {
    return await withDedicatedConnection({ url, name: 'sessiongraph start', connectTimeoutMs: CONNECT_TIMEOUT_MS }, async connection => {
      const [facts] = await connection.rows<DatabaseFacts>(Prisma.sql`
        select current_setting('server_version_num')::int as version, pg_encoding_to_char(encoding) as encoding, datctype as ctype
        from pg_database where datname = current_database()`);
      if (facts === undefined) throw new Error('pg_database has no row for it');
      return facts;
    });
  } catch (error) {
    throw new StartError(`The database ${description}, named in DATABASE_URL, cannot be used: ${reasonOf(error)}`);
  }
}
