/** Longer documents carry their values inside, and do not come a second time. */
const MAX_LENGTH = 32_768;

/** Keeps what was made of a document by its text; the least recently used goes first. */
export interface DocumentCache<Value> {
  get(text: string): Value | undefined;
  set(text: string, value: Value): void;
}

/** @param capacity most documents kept; each is at most 32,768 characters, so the memory it takes is bounded */
export function createDocumentCache<Value>(capacity = 1_000): DocumentCache<Value> {
  const entries = new Map<string, Value>();
  return {
    get(text) {
      const value = entries.get(text);
      if (value === undefined) return undefined;
      entries.delete(text);
      entries.set(text, value);
      return value;
    },
    set(text, value) {
      if (text.length > MAX_LENGTH) return;
      entries.set(text, value);
      const oldest = entries.keys().next();
      if (entries.size > capacity && oldest.done !== true) entries.delete(oldest.value);
    },
  };
}
