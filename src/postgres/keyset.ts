import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { badInput, DomainError } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Sql } from './database.ts';

/** Relay's paging arguments as the caller gave them; null counts as absent. */
export interface PageArguments {
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
}

/** The number of rows of a page by default, and the maximum. */
export interface PageSize {
  readonly default: number;
  readonly max: number;
}

/** The type of a sort value, to which the texts in a cursor are cast. */
export type SortType = 'timestamptz' | 'bigint' | 'integer' | 'float8' | 'text' | 'uuid';

/** One term of an order. Its expression is never null. */
export interface OrderTerm {
  readonly expression: Sql;
  readonly type: SortType;
  readonly descending: boolean;
  /** The field of a row that has the sort value, as Postgres' text or as an integer. Only for columns that every page reads. */
  readonly field?: string;
}

/**
 * A total order: its last term is unique, so no two rows are equal.
 * `fingerprint` identifies the list, its order and its filter. A cursor is valid for one fingerprint only.
 */
export interface Ordering {
  readonly terms: readonly OrderTerm[];
  readonly fingerprint: string;
  /**
   * Decodes the cursors of a list that has its own cursor format; returns one text for each term.
   * @throws DomainError BAD_CURSOR, naming the field
   */
  readonly readCursor?: (text: string, field: string) => readonly string[];
}

/** The part of an ordered list that a caller asked for. */
export interface PageWindow {
  readonly limit: number;
  /** True for `last`: the list is read backwards from its end. */
  readonly inverted: boolean;
  readonly after: readonly string[] | null;
  readonly before: readonly string[] | null;
}

/** One page of rows, in list order. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  /** The cursor of the row at an index; null if there is no such row. Encoded on demand: most queries ask for one or two. */
  readonly cursorAt: (index: number) => string | null;
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
}

/** A row of a page. If its fields do not have the sort values and the query selected `cursorColumn`, they are here as a JSON array of texts. */
export interface WithCursor {
  readonly cursor?: string;
}

const CURSOR_VERSION = 1;

/**
 * A short hash of a list, its order and its filter, for cursors. The order of keys does not matter, and a key that is null counts as
 * absent, as in filters.
 */
export function fingerprintOf(parts: unknown): string {
  const text = JSON.stringify(parts, sortedKeys);
  const known = fingerprints.get(text);
  if (known !== undefined) return known;
  const fingerprint = createHash('sha256').update(text).digest('base64url').slice(0, 12);
  if (text.length <= MAX_REMEMBERED_LENGTH) fingerprints.set(text, fingerprint);
  return fingerprint;
}

/** Most lists of an application are asked for again and again, and a hash costs more than a small list's SQL text. */
const fingerprints = new LRUCache<string, string>({ max: 1_000 });

const MAX_REMEMBERED_LENGTH = 1_000;

function sortedKeys(key: string, value: unknown): unknown {
  // Caller-owned data: a null in it is a value.
  if (key === 'metadata') return JSON.stringify(value, sortedWithNulls);
  if (typeof value === 'bigint') return String(value);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function sortedWithNulls(_key: string, value: unknown): unknown {
  return isObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * Checks paging arguments and decodes their cursors.
 * @throws DomainError BAD_USER_INPUT for `first` with `last` or a negative size, PAGE_SIZE_TOO_LARGE, BAD_CURSOR
 */
export function readWindow(args: PageArguments, size: PageSize, ordering: Ordering): PageWindow {
  if (args.first != null && args.last != null) throw badInput('last', 'must not be given together with first');
  const inverted = args.last != null;
  const field = inverted ? 'last' : 'first';
  const limit = args.last ?? args.first ?? size.default;
  if (limit < 0) throw badInput(field, 'must not be negative');
  if (limit > size.max) {
    throw new DomainError('PAGE_SIZE_TOO_LARGE', `${field} is ${limit}; a page of this list has at most ${size.max}.`, {
      field,
      requested: limit,
      max: size.max,
    });
  }
  const read = ordering.readCursor ?? ((text: string, argument: string) => decodeCursor(text, ordering, argument));
  return {
    limit,
    inverted,
    after: args.after == null ? null : read(args.after, 'after'),
    before: args.before == null ? null : read(args.before, 'before'),
  };
}

function encodeCursor(values: string, ordering: Ordering): string {
  return Buffer.from(`[${CURSOR_VERSION},"${ordering.fingerprint}",${values.slice(1)}`).toString('base64url');
}

function decodeCursor(text: string, ordering: Ordering, field: string): readonly string[] {
  const parsed = parseJson(Buffer.from(text, 'base64url').toString('utf8'));
  const malformed = () => new DomainError('BAD_CURSOR', `${field} is not a cursor of this list.`, { field });
  if (!Array.isArray(parsed) || parsed[0] !== CURSOR_VERSION || typeof parsed[1] !== 'string') throw malformed();
  if (parsed[1] !== ordering.fingerprint) {
    throw new DomainError('BAD_CURSOR', `${field} is a cursor of another order or filter; start again without it.`, { field });
  }
  const values = parsed.slice(2);
  if (values.length !== ordering.terms.length) throw malformed();
  return ordering.terms.map((term, index) => {
    const value: unknown = values[index];
    if (typeof value !== 'string' || !IS_SORT_VALUE[term.type](value)) throw malformed();
    return value;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const INSTANT = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?)\+00$/;

// A forged cursor must be BAD_CURSOR, not a failed cast in Postgres.
const IS_SORT_VALUE: Readonly<Record<SortType, (value: string) => boolean>> = {
  timestamptz(value) {
    const match = INSTANT.exec(value);
    if (match === null) return value === 'infinity';
    const instant = new Date(`${match[1]}T${match[2]}Z`);
    // A Date accepts the year 0 and 30 February, which it turns into March; Postgres accepts neither.
    return !value.startsWith('0000') && !Number.isNaN(instant.getTime()) && instant.toISOString().startsWith(match[1] ?? '');
  },
  bigint: value => /^-?\d{1,18}$/.test(value),
  integer: value => /^-?\d{1,9}$/.test(value),
  float8: value => {
    const match = /^(-?\d+(?:\.\d+)?)(?:e[+-]\d{1,3})?$/.exec(value);
    const number = Number(value);
    // A number too small for a double is 0 here, but an error in Postgres.
    return match !== null && Number.isFinite(number) && (number !== 0 || Number(match[1]) === 0);
  },
  text: value => !value.includes('\0') && value.isWellFormed(),
  uuid: value => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
};

/**
 * The column `cursor` of a page's rows. Made as JSON by Postgres: to parse an array of each row costs more than the rest of the row. It takes
 * a quarter of a page's time, so pages whose rows have the sort values anyway go without.
 */
export function cursorColumn(ordering: Ordering): Sql {
  return Prisma.sql`json_build_array(${Prisma.join(ordering.terms.map(term => Prisma.sql`(${term.expression})::text`))})::text as "cursor"`;
}

/** The columns of a page's rows, with the sort values if the column groups include `cursor` and no other columns have them. */
export function pageColumns(columns: Sql, ordering: Ordering, groups: readonly string[]): Sql {
  const isComplete = !groups.includes('cursor') || ordering.terms.every(({ field }) => field !== undefined);
  return isComplete ? columns : Prisma.sql`${columns}, ${cursorColumn(ordering)}`;
}

/** The sort values of a row, as a JSON array of texts. */
function sortValuesOf(row: WithCursor, { terms }: Ordering): string {
  if (row.cursor !== undefined) return row.cursor;
  const fields = row as WithCursor & Readonly<Record<string, unknown>>;
  const values = terms.map(({ field = '' }) => fields[field]);
  if (values.some(value => typeof value !== 'string' && typeof value !== 'number'))
    throw new Error('The cursors of this page were not read.');
  return JSON.stringify(values.map(String));
}

/** The ORDER BY list of a page: the order, reversed if the window is read from the end. */
export function orderList(ordering: Ordering, window: PageWindow): Sql {
  return Prisma.join(
    ordering.terms.map(term =>
      term.descending !== window.inverted ? Prisma.sql`${term.expression} desc` : Prisma.sql`${term.expression} asc`,
    ),
  );
}

/**
 * The order of a page for a statement that finds its rows in a subquery `listed`: the sort values with names for the subquery's SELECT list,
 * and the ORDER BY list by these names. Postgres then sees that the subquery's rows are in order.
 */
export function namedOrder(ordering: Ordering, window: PageWindow): { readonly columns: Sql; readonly order: Sql } {
  const named = ordering.terms.map((term, index) => ({ ...term, name: `key_${index}` }));
  const terms = named.map(term => ({ ...term, expression: Prisma.raw(`listed.${term.name}`) }));
  return {
    columns: Prisma.join(named.map(({ expression, name }) => Prisma.sql`${expression} as ${Prisma.raw(name)}`)),
    order: orderList({ ...ordering, terms }, window),
  };
}

/** The conditions that limit a page to the rows between its cursors; empty without cursors. */
export function keysetConditions(ordering: Ordering, window: PageWindow): Sql[] {
  const conditions: Sql[] = [];
  if (window.after !== null) conditions.push(beyond(ordering.terms, window.after, false));
  if (window.before !== null) conditions.push(beyond(ordering.terms, window.before, true));
  return conditions;
}

/** The rows after these sort values, or before them. */
function beyond(terms: readonly OrderTerm[], values: readonly string[], before: boolean): Sql {
  const keys = terms.map((term, index) => ({ ...term, value: Prisma.sql`${values[index]}::${Prisma.raw(term.type)}` }));
  const [first] = keys;
  if (first !== undefined && keys.every(key => key.descending === first.descending)) {
    // A row comparison is one range of the index, ties included, and equally fast at any depth.
    const left = Prisma.join(keys.map(key => key.expression));
    const right = Prisma.join(keys.map(key => key.value));
    return first.descending !== before ? Prisma.sql`(${left}) < (${right})` : Prisma.sql`(${left}) > (${right})`;
  }
  return keys.reduceRight<Sql>((rest, key) => {
    const less = key.descending !== before;
    const strictly = less ? Prisma.sql`${key.expression} < ${key.value}` : Prisma.sql`${key.expression} > ${key.value}`;
    if (rest === Prisma.empty) return strictly;
    const bound = less ? Prisma.sql`${key.expression} <= ${key.value}` : Prisma.sql`${key.expression} >= ${key.value}`;
    return Prisma.sql`(${bound} and (${strictly} or ${rest}))`;
  }, Prisma.empty);
}

/** Page sizes, one row more each, for which the text of a statement has a LIMIT of its own. */
const LIMITS = [2, 6, 11, 21, 31, 51, 101, 201, 501, 1001];

/**
 * The LIMIT of a page, as a literal: Postgres plans a prepared statement for the rows it expects, and a parameter would count as a tenth of
 * the table. Sizes are rounded up to a few classes, so that the texts stay few; `toPage` drops the rows beyond the page.
 */
export function pageLimit(window: PageWindow): Sql {
  const rows = rowsToRead(window);
  return Prisma.raw(String(LIMITS.find(limit => limit >= rows) ?? rows));
}

/** The number of rows to read for a window: one more than the page, to know whether another page follows. */
export function rowsToRead(window: PageWindow): number {
  return window.limit + 1;
}

/** The empty page of `first: 0`, which needs no statement. */
export function emptyPage<Row>(window: PageWindow): Page<Row> {
  return { rows: [], cursorAt: () => null, hasNextPage: window.before !== null, hasPreviousPage: window.after !== null };
}

/**
 * The page of the rows read for a window with `rowsToRead` as limit and `orderList` as order.
 * Rows on the other side of a given cursor are assumed to exist; no statement checks that.
 */
export function toPage<Row extends WithCursor>(read: readonly Row[], window: PageWindow, ordering: Ordering): Page<Row> {
  const more = read.length > window.limit;
  const kept = more ? read.slice(0, window.limit) : read;
  const rows = window.inverted ? kept.toReversed() : kept;
  return {
    rows,
    cursorAt(index) {
      const row = rows[index];
      return row === undefined ? null : encodeCursor(sortValuesOf(row, ordering), ordering);
    },
    hasNextPage: window.inverted ? window.before !== null : more || window.before !== null,
    hasPreviousPage: window.inverted ? more || window.after !== null : window.after !== null,
  };
}

/** Joins conditions by AND; `true` if there are none. */
export function allOf(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? Prisma.sql`true` : Prisma.join([...conditions], ' and ');
}
