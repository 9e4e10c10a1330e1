import { LRUCache } from 'lru-cache';

const MAX_DOCUMENTS = 1_000;

/** Longer documents contain literal values, so clients rarely send them twice. */
const MAX_DOCUMENT_LENGTH = 32_768;

/** Caches what was made of a document, by the document's text. */
export type DocumentCache<Value extends object> = Pick<LRUCache<string, Value>, 'get' | 'set'>;

/** Makes an LRU cache. Its memory is bounded: it holds at most `max` documents of at most 32,768 characters. */
export function createDocumentCache<Value extends object>(max: number = MAX_DOCUMENTS): DocumentCache<Value> {
  // A size must be positive, and the empty document has no characters.
  return new LRUCache<string, Value>({ max, maxEntrySize: MAX_DOCUMENT_LENGTH + 1, sizeCalculation: (_value, text) => text.length + 1 });
}
