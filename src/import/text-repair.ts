/** What Postgres cannot hold in text and JSON: NUL, and halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Surrogate}]/gu;

/** Whether JSON text could hold such a character, plain or escaped; cheap, and wrong only by saying yes too often. */
const SUSPECT = /\0|\\u0000|\\ud[89a-f]|[\ud800-\udfff]/i;

/** Replaces what the database cannot hold by U+FFFD, and counts. */
export class TextRepair {
  /** Characters replaced so far. */
  replaced = 0;

  /** The text as it can be stored. */
  text(text: string): string {
    return text.replace(UNSTORABLE, () => {
      this.replaced++;
      return '\ufffd';
    });
  }

  /** A parsed JSON value as it can be stored, its keys too; the value itself where nothing had to change. */
  json(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map(item => this.json(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [this.text(name), this.json(item)]));
  }

  /** Parses JSON text into what can be stored. @throws SyntaxError where it is not JSON */
  parse(text: string): unknown {
    const value: unknown = JSON.parse(text);
    return SUSPECT.test(text) ? this.json(value) : value;
  }
}

/** Whether a JSON value nests objects and arrays deeper than so many levels: neither we nor Postgres follow without end. */
export function isNestedDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some(item => isNestedDeeper(item, levels - 1));
}
