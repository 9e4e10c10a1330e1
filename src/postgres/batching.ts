import DataLoader from 'dataloader';
import { type Ordering, type Page, type PageWindow, toPage, type WithCursor } from './keyset.ts';

/** DataLoaders by what they read beside their keys: one statement for all keys asked with the same rest. */
export class LoaderSet<Key, Value> {
  readonly #loaders = new Map<string, DataLoader<Key, Value>>();

  /**
   * The loader of this variant, made when first asked for.
   * @param variant all that the statement depends on beside its keys, as one text
   */
  of(variant: string, read: (keys: readonly Key[]) => Promise<Value[]>): DataLoader<Key, Value> {
    const loader = this.#loaders.get(variant) ?? new DataLoader(read);
    this.#loaders.set(variant, loader);
    return loader;
  }
}

/** A row of a list read for several parents at once. */
export interface OfParent {
  readonly listParent: string;
}

/** One page for each parent, of rows read for all of them, each parent's in the order of the list. */
export function pagesByParent<Row extends WithCursor & OfParent>(
  parents: readonly string[],
  rows: readonly Row[],
  window: PageWindow,
  ordering: Ordering,
): Page<Row>[] {
  const byParent = new Map<string, Row[]>(parents.map(parent => [parent, []]));
  for (const row of rows) byParent.get(row.listParent)?.push(row);
  return parents.map(parent => toPage(byParent.get(parent) ?? [], window, ordering));
}

/** Rows in the order of their keys, null for a key without one. */
export function byKey<Row>(keys: readonly string[], rows: readonly Row[], keyOf: (row: Row) => string): (Row | null)[] {
  const found = new Map(rows.map(row => [keyOf(row), row]));
  return keys.map(key => found.get(key) ?? null);
}
