/** Maximum length of a text to search for. Postgres needs seconds to split a longer one into trigrams. */
export const MAX_SEARCH_LENGTH = 1_000;

/** Length of a text in characters (code points), the unit of all length limits. */
export function characterCount(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
