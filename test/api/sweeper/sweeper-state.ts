import { runSql } from '../../support/sql.ts';

/** The statement that tells which server process of Postgres holds the sweeper's lock of this database. */
export const HOLDER = `select l.pid from pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and ((l.classid::bigint << 32) | l.objid::bigint) = 7305021103
  and l.database = (select oid from pg_database where datname = current_database())`;

/** The server processes of Postgres that hold the sweeper's lock of this database: one, or for a moment none. */
export async function holders(databaseUrl: string): Promise<number[]> {
  return (await runSql<{ pid: number }>(databaseUrl, HOLDER)).map(({ pid }) => pid);
}

/** Ends the connection of whoever sweeps this database, as an accident would. */
export async function endSweeping(databaseUrl: string): Promise<void> {
  await runSql(databaseUrl, `select pg_terminate_backend(pid) from (${HOLDER}) holder`);
}

/** The values of one metric of a server by its labels, as it prints them; `''` where it has none. */
export async function readMetric(graphqlUrl: string, name: string): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(new URL('/metrics', graphqlUrl))).text();
  return Object.fromEntries(
    text.split('\n').flatMap(line => {
      const [, found, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return found === name ? [[labels, Number(value)]] : [];
    }),
  );
}
