import { runSql } from '../../support/sql.ts';

/** Selects the Postgres backend that holds the sweeper's advisory lock in this database. */
export const LOCK_HOLDER_SQL = `select l.pid from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and ((l.classid::bigint << 32) | l.objid::bigint) = 7305021103
  and l.database = (select oid from pg_database where datname = current_database())`;

/** Returns the pids of the backends that hold the sweeper's lock in this database: one, or none while the lock changes hands. */
export async function sweeperLockHolders(databaseUrl: string): Promise<number[]> {
  return (await runSql<{ pid: number }>(databaseUrl, LOCK_HOLDER_SQL)).map(({ pid }) => pid);
}

/** Terminates the sweeper's connection to this database. */
export async function terminateSweeperConnection(databaseUrl: string): Promise<void> {
  await runSql(databaseUrl, `select pg_terminate_backend(pid) from (${LOCK_HOLDER_SQL}) holder`);
}

/** Reads /metrics of a server and returns the values of one metric by their labels. The key is `''` for a metric without labels. */
export async function readMetric(graphqlUrl: string, name: string): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(new URL('/metrics', graphqlUrl))).text();
  return Object.fromEntries(
    text.split('\n').flatMap(line => {
      const [, found, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return found === name ? [[labels, Number(value)]] : [];
    }),
  );
}
