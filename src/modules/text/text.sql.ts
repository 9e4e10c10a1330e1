import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';

/**
 * A text in lower case, by the expression that the trigram index is built on.
 * `lower` gives one of two small sigmas, depending on whether the word ends there. A part of a word may end elsewhere, so both become one.
 */
export function foldedText(text: Sql): Sql {
  return Prisma.sql`translate(lower(${text} collate "und-x-icu"), 'ς', 'σ')`;
}

/** The condition that a column contains a text, in any case. */
export function containsText(column: Sql, text: string): Sql {
  return Prisma.sql`${foldedText(column)} like ${foldedText(Prisma.sql`${`%${escapeLike(text)}%`}`)}`;
}

/** Escapes the characters that have a meaning in a LIKE pattern. */
function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}
