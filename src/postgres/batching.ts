import DataLoader from 'dataloader';
import { type Ordering, type Page, type PageWindow, toPage, type WithCursor } from './keyset.ts';

/** The DataLoaders of one request, one for each variant of a statement: all keys of a variant are read by one statement. */
export class LoaderSet<Key, Value> {
  readonly #loaders = new Map<string, DataLoader<Key, Value>>();

  /**
   * Returns the loader of a variant; creates it on first use.
   * @param variant everything the statement depends on besides its keys, as one text
   */
  of(variant: string, read: (keys: readonly Key[]) => Promise<Value[]>): DataLoader<Key, Value> {
    const loader = this.#loaders.get(variant) ?? new DataLoader(read);
    this.#loaders.set(variant, loader);
    return loader;
  }
}

/** A row of a list that is read for several parents by one statement. */
export interface OfParent {
  /** The place of the parent among those of the statement, from 1. */
  readonly listParent: number;
}

/** Splits rows that were read for several parents into one page for each; the rows of a parent are in the order of the list. */
export function pagesByParent<Row extends WithCursor & OfParent>(
  parents: readonly string[],
  rows: readonly Row[],
  window: PageWindow,
  ordering: Ordering,
): Page<Row>[] {
  const byParent: Row[][] = parents.map(() => []);
  for (const row of rows) byParent[row.listParent - 1]?.push(row);
  return byParent.map(ofParent => toPage(ofParent, window, ordering));
}

/** The rows in the order of the keys; null for a key without a row. */
export function byKey<Row>(keys: readonly string[], rows: readonly Row[], keyOf: (row: Row) => string): (Row | null)[] {
  const found = new Map(rows.map(row => [keyOf(row), row]));
  return keys.map(key => found.get(key) ?? null);
}

/**
 * Remembers what was made for a field's arguments. All objects of a list get the same arguments object in one execution, so what depends
 * on the arguments alone need not be made for each of them.
 */
export class MadeForArguments<Made> {
  #last: { readonly args: object; readonly made: Made } | null = null;

  of(args: object, make: () => Made): Made {
    if (this.#last?.args !== args) this.#last = { args, made: make() };
    return this.#last.made;
  }
}
