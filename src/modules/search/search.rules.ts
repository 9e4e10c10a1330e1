/** WORDS: words, compared by their English stem; also phrases, OR and -minus. SUBSTRING: the exact characters, in any case. */
export type SearchMode = 'WORDS' | 'SUBSTRING';

export type SearchOrder = 'NEWEST' | 'RELEVANCE';

/** Postgres puts these around each match. The search removes them from the content before. */
export const MATCH_START = '\u0001';
export const MATCH_STOP = '\u0002';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ESCAPES[character] ?? character);
}

/** Postgres puts this between the fragments of a headline. */
export const FRAGMENT_DELIMITER = ' … ';

/**
 * Postgres' headline as HTML: escaped, with matches in <mark>, and an ellipsis at each end where text was cut off.
 * @param text the beginning and the end of the whole text. Postgres does not say whether it cut the headline, so both are compared with it.
 * Only words are compared, because Postgres drops tags and punctuation at the ends
 */
export function headlineHtml(headline: string, text: { readonly head: string; readonly tail: string }): string {
  const fragments = headline.split(FRAGMENT_DELIMITER).map(wordsOf);
  const cut = {
    before: !startsWith(wordsOf(text.head), fragments.at(0) ?? []),
    after: !startsWith(wordsOf(text.tail).toReversed(), (fragments.at(-1) ?? []).toReversed()),
  };
  const html = escapeHtml(headline).replaceAll(MATCH_START, '<mark>').replaceAll(MATCH_STOP, '</mark>');
  return withEllipses(html, cut);
}

/** Whether `words` starts with `excerpt`. The last word is not compared, because it may be cut. */
function startsWith(words: readonly string[], excerpt: readonly string[]): boolean {
  return excerpt.slice(0, Math.max(0, words.length - 1)).every((word, index) => word === words[index]);
}

function wordsOf(text: string): readonly string[] {
  const plain = text
    .replaceAll(MATCH_START, '')
    .replaceAll(MATCH_STOP, '')
    .replace(/<[^>]*>/g, ' ');
  return plain.match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
}

/** On which sides text was cut off. */
interface Cut {
  readonly before: boolean;
  readonly after: boolean;
}

function withEllipses(html: string, cut: Cut): string {
  return `${cut.before ? '…' : ''}${html}${cut.after ? '…' : ''}`;
}

/**
 * Part of a text as HTML: escaped, with every occurrence of the term in <mark>.
 * @param cut on which sides the text was cut off; an ellipsis shows it
 */
export function excerptHtml(excerpt: string, term: string, cut: Cut): string {
  const folded = foldCase(excerpt);
  const needle = foldCase(term).text;
  const html: string[] = [];
  let shown = 0;
  for (let at = folded.text.indexOf(needle); needle !== '' && at !== -1; at = folded.text.indexOf(needle, at + needle.length)) {
    const start = folded.origin[at] ?? excerpt.length;
    const stop = folded.origin[at + needle.length] ?? excerpt.length;
    html.push(escapeHtml(excerpt.slice(shown, start)), '<mark>', escapeHtml(excerpt.slice(start, stop)), '</mark>');
    shown = stop;
  }
  html.push(escapeHtml(excerpt.slice(shown)));
  return withEllipses(html.join(''), cut);
}

/**
 * A text in lower case, and the position in the original text of each of its code units: some letters become longer in lower case.
 * Converts character by character, because a sigma at the end of a word would have another lower case.
 */
function foldCase(text: string): { readonly text: string; readonly origin: readonly number[] } {
  const origin: number[] = [];
  let folded = '';
  let position = 0;
  for (const character of text) {
    const lower = character.toLowerCase().replace('ς', 'σ');
    for (let unit = 0; unit < lower.length; unit++) origin.push(position);
    folded += lower;
    position += character.length;
  }
  return { text: folded, origin };
}
