/** WORDS: stemmed words, quotes, OR and -minus. SUBSTRING: the exact characters, anywhere, in any case. */
export type SearchMode = 'WORDS' | 'SUBSTRING';

export type SearchOrder = 'NEWEST' | 'RELEVANCE';

/** Stand around a match in the text that Postgres gives; characters no message is shown with. */
export const MATCH_START = '\u0001';
export const MATCH_STOP = '\u0002';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ESCAPES[character] ?? character);
}

/** Stands between the fragments of a headline. */
export const FRAGMENT_DELIMITER = ' … ';

/**
 * A headline of Postgres with its marks, as HTML: the text escaped, matches in <mark>, an ellipsis where it was cut off.
 * @param text how the whole text begins and ends. Postgres does not tell where a headline was cut; it leaves out tags and what is no word
 * at the ends, so that only words are compared
 */
export function headlineHtml(headline: string, text: { readonly head: string; readonly tail: string }): string {
  const fragments = headline.split(FRAGMENT_DELIMITER).map(wordsOf);
  const cut = {
    before: !beginsWith(wordsOf(text.head), fragments.at(0) ?? []),
    behind: !beginsWith(wordsOf(text.tail).toReversed(), (fragments.at(-1) ?? []).toReversed()),
  };
  const html = escapeHtml(headline).replaceAll(MATCH_START, '<mark>').replaceAll(MATCH_STOP, '</mark>');
  return withEllipses(html, cut);
}

/** Whether words begin with those of a piece, as far as is known: the last of them may itself be cut. */
function beginsWith(words: readonly string[], piece: readonly string[]): boolean {
  return piece.slice(0, Math.max(0, words.length - 1)).every((word, index) => word === words[index]);
}

function wordsOf(text: string): readonly string[] {
  const plain = text
    .replaceAll(MATCH_START, '')
    .replaceAll(MATCH_STOP, '')
    .replace(/<[^>]*>/g, ' ');
  return plain.match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
}

/** On which sides a piece of a text was cut off. */
interface Cut {
  readonly before: boolean;
  readonly behind: boolean;
}

function withEllipses(html: string, cut: Cut): string {
  return `${cut.before ? '…' : ''}${html}${cut.behind ? '…' : ''}`;
}

/**
 * A piece of a text as HTML, every occurrence of the term in <mark>.
 * @param cut on which sides the piece was cut off, to be shown by an ellipsis
 */
export function excerptHtml(piece: string, term: string, cut: Cut): string {
  const folded = foldCase(piece);
  const needle = foldCase(term).text;
  const html: string[] = [];
  let shown = 0;
  for (let at = folded.text.indexOf(needle); needle !== '' && at !== -1; at = folded.text.indexOf(needle, at + needle.length)) {
    const start = folded.origin[at] ?? piece.length;
    const stop = folded.origin[at + needle.length] ?? piece.length;
    html.push(escapeHtml(piece.slice(shown, start)), '<mark>', escapeHtml(piece.slice(start, stop)), '</mark>');
    shown = stop;
  }
  html.push(escapeHtml(piece.slice(shown)));
  return withEllipses(html.join(''), cut);
}

/**
 * A text in lower case, and for each of its units where it stood in the original: some letters grow when they are folded.
 * Character by character, so that the end of a word does not change a sigma.
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
