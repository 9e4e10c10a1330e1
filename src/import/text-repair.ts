/** What Postgres cannot store in text and JSON: NUL, and lone halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Surrogate}]/gu;

/** A cheap test for JSON text that may contain such a character, plain or escaped. It may match other text too. */
const SUSPECT = /\0|\\u0000|\\ud[89a-f]|[\ud800-\udfff]/i;

/** Replaces the characters that Postgres cannot store by U+FFFD, and counts them. */
export class TextRepair {
  /** Number of characters replaced so far. */
  replaced = 0;

  /** The text with every such character replaced. */
  text(text: string): string {
    return text.replace(UNSTORABLE, () => {
      this.replaced++;
      return '\ufffd';
    });
  }

  /** A copy of a parsed JSON value with every such character replaced, in keys too. */
  json(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map(item => this.json(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.text(name), this.json(item)]));
  }

  /** Parses JSON text into a value that can be stored. @throws SyntaxError if it is not JSON */
  parse(text: string): unknown {
    const value: unknown = JSON.parse(text);
    return SUSPECT.test(text) ? this.json(value) : value;
  }
}

/** Whether objects and arrays in a JSON value are nested deeper than this. Recursion in our code and in Postgres is limited. */
export function isNestedDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some(item => isNestedDeeper(item, levels - 1));
}
