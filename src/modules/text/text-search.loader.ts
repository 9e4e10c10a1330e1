import { Prisma } from '../../generated/prisma/client.ts';
import type { Executor, Sql } from '../../postgres/database.ts';

/** How to find the first rows of a list that contain a text. */
export interface ListSearch<Row> {
  /** Number of rows to find. */
  readonly limit: number;
  /**
   * Reads the first rows of the list one by one and returns those that match; fewer than `limit` if it has read its maximum.
   * @param times the multiple of its maximum
   */
  readonly walk: (times: number) => Promise<Row[]>;
  /** Finds all matches by an index, and returns the first `limit`. */
  readonly useIndex: () => Promise<Row[]>;
  /** A SELECT of all rows, of any list, whose text matches. */
  readonly matches: Sql;
}

/** The longer walk reads this many times as many rows as the short one. */
const LONGER = 16;

/** Matches that an index finds in about 20 ms. */
const FEW_MATCHES = 3_000;

/**
 * Finds the first rows of a list that contain a text. An index collects all matches before it returns the first: for a common word, a
 * million rows in seconds. A walk finds common words at once, but would read the whole list for a rare one. So this walks a little, further
 * if that promises to find enough, and uses the index last. A word may be common, but absent from the first rows: Postgres' statistics tell.
 */
export async function searchList<Row>(database: Executor, { limit, walk, useIndex, matches }: ListSearch<Row>): Promise<Row[]> {
  const first = await walk(1);
  if (first.length >= limit) return first;
  const isCommon = first.length * LONGER >= limit || (await estimatedRows(database, matches)) > FEW_MATCHES;
  const more = isCommon ? await walk(LONGER) : [];
  return more.length >= limit ? more : useIndex();
}

/** The number of rows that Postgres expects of a SELECT, by its statistics. Does not run it. */
async function estimatedRows(database: Executor, select: Sql): Promise<number> {
  const [row] = await database.rows<{ 'QUERY PLAN': readonly { readonly Plan: { readonly 'Plan Rows': number } }[] }>(
    Prisma.sql`explain (format json) ${select}`,
  );
  return row?.['QUERY PLAN'][0]?.Plan['Plan Rows'] ?? 0;
}
