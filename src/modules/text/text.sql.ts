import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';

/**
 * A text in lower case, by the expression that the trigram index is built on.
 * `lower` gives one of two small sigmas, depending on whether the word ends there. A part of a word may end elsewhere, so both become one.
 */
export function foldedText(text: Sql): Sql {
  return Prisma.sql`translate(lower(${text} collate "und-x-icu"), 'ς', 'σ')`;
}

/**
 * The condition that a text contains a term, in any case: true for the same texts as `containsText`, but it uses no index. For rows that
 * are read anyway, because it takes a quarter of the time. Most texts are ASCII, which has one lower case in all collations.
 */
export function containsTerm(text: Sql, term: string): Sql {
  const isAscii = Prisma.sql`octet_length(${text}) = length(${text})`;
  const folded = Prisma.sql`replace(lower(${text} collate "und-x-icu"), 'ς', 'σ') collate "C"`;
  // The subquery folds the term once for all rows, also in a prepared statement.
  return Prisma.sql`strpos(case when ${isAscii} then lower(${text} collate "C") else ${folded} end,
    (select ${foldedText(Prisma.sql`${term}`)}) collate "C") > 0`;
}

/** The condition that a column contains a text, in any case. */
export function containsText(column: Sql, text: string): Sql {
  return Prisma.sql`${foldedText(column)} like ${foldedText(Prisma.sql`${`%${escapeLike(text)}%`}`)}`;
}

/** The same condition for prepared statements: the planner does not see the text, and so does not plan anew for each. */
export function containsPrepared(column: Sql, text: string): Sql {
  return Prisma.sql`${foldedText(column)} like (select ${foldedText(Prisma.sql`${`%${escapeLike(text)}%`}`)})`;
}

/**
 * Whether a trigram index finds a text: it needs three letters or digits in a row, and other letters than ASCII may not count in the locale of
 * the database. Without them, Postgres reads the whole index, which is slower than the table; the planner must see such a text.
 */
export function hasTrigram(text: string): boolean {
  return /[a-z0-9]{3}/i.test(text);
}

/** Escapes the characters that have a meaning in a LIKE pattern. */
function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}
