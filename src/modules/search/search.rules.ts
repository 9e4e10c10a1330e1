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

/** A headline of Postgres with its marks, as HTML: the text escaped, matches in <mark>. */
export function headlineHtml(headline: string): string {
  return escapeHtml(headline).replaceAll(MATCH_START, '<mark>').replaceAll(MATCH_STOP, '</mark>');
}

/**
 * A piece of a text as HTML, every occurrence of the term in <mark>.
 * @param cut on which sides the piece was cut off, to be shown by an ellipsis
 */
export function excerptHtml(piece: string, term: string, cut: { readonly before: boolean; readonly behind: boolean }): string {
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
  return `${cut.before ? '…' : ''}${html.join('')}${cut.behind ? '…' : ''}`;
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
