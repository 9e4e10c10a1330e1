import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../src/errors.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { byKey, LoaderSet, pagesByParent } from '../../../src/postgres/batching.ts';
import {
  allOf,
  emptyPage,
  fingerprintOf,
  keysetConditions,
  type Ordering,
  orderList,
  type PageArguments,
  type PageWindow,
  readWindow,
  rowsToRead,
  type SortType,
  toPage,
} from '../../../src/postgres/keyset.ts';

const SIZE = { default: 20, max: 100 };

function ordering(...terms: readonly [expression: string, type: SortType, descending: boolean][]): Ordering {
  return {
    terms: terms.map(([expression, type, descending]) => ({ expression: Prisma.raw(expression), type, descending })),
    fingerprint: 'test',
  };
}

const BY_TIME = ordering(['t', 'timestamptz', true], ['id', 'uuid', true]);
const WINDOW: PageWindow = { limit: 2, inverted: false, after: null, before: null };
const rows = (...ids: string[]) => ids.map(id => ({ id, cursor: [id] }));

function refusal(args: PageArguments): DomainError {
  try {
    readWindow(args, SIZE, BY_TIME);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('It was taken.');
}

const cursor = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');

describe('readWindow', () => {
  it('takes the default where no size is given, null counting as left out', () => {
    expect(readWindow({}, SIZE, BY_TIME)).toEqual({ limit: 20, inverted: false, after: null, before: null });
    expect(readWindow({ first: null, last: 5 }, SIZE, BY_TIME)).toEqual({ limit: 5, inverted: true, after: null, before: null });
    expect(readWindow({ first: 0, last: null, after: null, before: null }, SIZE, BY_TIME).limit).toBe(0);
  });

  it('refuses sizes that contradict, are negative or too large', () => {
    expect(refusal({ first: 1, last: 1 })).toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'last' } });
    expect(refusal({ last: -1 })).toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'last' } });
    expect(refusal({ first: 101 })).toMatchObject({ code: 'PAGE_SIZE_TOO_LARGE', details: { field: 'first', requested: 101, max: 100 } });
  });

  it('refuses cursors that are none of this list, in either argument', () => {
    for (const text of [
      '',
      '!',
      cursor(),
      cursor(1, 'test'),
      cursor(1, 'other', 'infinity', 'x'),
      cursor(2, 'test', 'infinity', 'x'),
      cursor(1, 'test', 1, 2),
    ]) {
      expect(refusal({ after: text })).toMatchObject({ code: 'BAD_CURSOR', details: { field: 'after' } });
      expect(refusal({ before: text })).toMatchObject({ code: 'BAD_CURSOR', details: { field: 'before' } });
    }
  });
});

describe('a value of a cursor', () => {
  const reads = (type: SortType, value: string) => {
    try {
      return readWindow({ after: cursor(1, 'test', value) }, SIZE, ordering(['x', type, false])).after?.[0] === value;
    } catch {
      return false;
    }
  };

  it.each<[SortType, readonly string[], readonly string[]]>([
    [
      'timestamptz',
      ['2026-01-01 00:00:00+00', '2024-02-29 23:59:59.999+00', '0001-01-01 00:00:00.1+00', '9999-12-31 23:59:59+00', 'infinity'],
      [
        '2026-02-29 00:00:00+00',
        '0000-01-01 00:00:00+00',
        '2026-01-01 24:00:00+00',
        '2026-01-01T00:00:00Z',
        '2026-01-01 00:00:00+01',
        '-infinity',
        'now',
        '',
      ],
    ],
    ['bigint', ['0', '-5', '999999999999999999'], ['', '-', '1.5', '1e3', '9999999999999999999', ' 1']],
    ['integer', ['0', '-999999999', '999999999'], ['9999999999', '0x1', '１']],
    [
      'float8',
      ['0', '-0', '1.5', '1e-05', '1.7976931348623157e+308', '0e-999'],
      ['1e+309', '1e-400', 'NaN', 'Infinity', '.5', '1.', '1e5'],
    ],
    ['text', ['', 'a', '😀', "'"], ['a\0', '\ud800']],
    ['uuid', ['0197a000-0000-7000-8000-00000000000a'], ['0197A000-0000-7000-8000-00000000000A', '0197a00000007000800000000000000a', 'x']],
  ])('of type %s is one Postgres can read', (type, good, bad) => {
    for (const value of good) expect(reads(type, value), value).toBe(true);
    for (const value of bad) expect(reads(type, value), value).toBe(false);
  });
});

describe('toPage', () => {
  const one = ordering(['id', 'text', false]);

  it('knows of more by the row read beyond the page', () => {
    expect(rowsToRead(WINDOW)).toBe(3);
    expect(toPage(rows('a', 'b', 'c'), WINDOW, one)).toMatchObject({
      rows: [{ id: 'a' }, { id: 'b' }],
      hasNextPage: true,
      hasPreviousPage: false,
    });
    expect(toPage(rows('a', 'b'), WINDOW, one)).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
    expect(toPage(rows(), WINDOW, one)).toMatchObject({ rows: [], hasNextPage: false, hasPreviousPage: false });
  });

  it('puts a page read from the end into the order of the list', () => {
    const backwards = { ...WINDOW, inverted: true };
    expect(toPage(rows('c', 'b', 'a'), backwards, one)).toMatchObject({
      rows: [{ id: 'b' }, { id: 'c' }],
      hasNextPage: false,
      hasPreviousPage: true,
    });
  });

  it('takes what lies beyond a given cursor to exist', () => {
    expect(toPage(rows('a'), { ...WINDOW, after: ['x'] }, one)).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    expect(toPage(rows('a'), { ...WINDOW, before: ['x'] }, one)).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
    expect(toPage(rows('a'), { ...WINDOW, inverted: true, before: ['x'] }, one)).toMatchObject({
      hasNextPage: true,
      hasPreviousPage: false,
    });
    expect(emptyPage({ ...WINDOW, limit: 0, after: ['x'] })).toMatchObject({ rows: [], hasNextPage: false, hasPreviousPage: true });
  });

  it('gives cursors that lead back to their values', () => {
    const page = toPage([{ cursor: ['Ünïcode "\\ 😀'] }], WINDOW, one);
    expect(page.cursorAt(1)).toBeNull();
    const first = page.cursorAt(0);
    expect(readWindow({ after: first }, SIZE, one).after).toEqual(['Ünïcode "\\ 😀']);
  });
});

describe('keysetConditions', () => {
  const text = (list: Ordering, window: Partial<PageWindow>) => keysetConditions(list, { ...WINDOW, ...window }).map(({ sql }) => sql);

  it('compare rows where all terms go one way, so that the index is entered at the cursor', () => {
    expect(text(BY_TIME, { after: ['1', '2'] })).toEqual(['(t,id) < (?::timestamptz,?::uuid)']);
    expect(text(BY_TIME, { before: ['1', '2'] })).toEqual(['(t,id) > (?::timestamptz,?::uuid)']);
    expect(text(BY_TIME, { after: ['1', '2'], before: ['3', '4'] })).toHaveLength(2);
    expect(text(BY_TIME, {})).toEqual([]);
  });

  it('bound the first term outright where terms go both ways', () => {
    const mixed = ordering(['a', 'text', false], ['b', 'integer', true], ['id', 'uuid', false]);
    expect(text(mixed, { after: ['1', '2', '3'] })).toEqual([
      '(a >= ?::text and (a > ?::text or (b <= ?::integer and (b < ?::integer or id > ?::uuid))))',
    ]);
  });

  it('go with an ORDER BY that is turned round for a page from the end', () => {
    expect(orderList(BY_TIME, WINDOW).sql).toBe('t desc,id desc');
    expect(orderList(BY_TIME, { ...WINDOW, inverted: true }).sql).toBe('t asc,id asc');
    expect(allOf([]).sql).toBe('true');
  });
});

describe('fingerprintOf', () => {
  it('is the same for the same, whatever the order of keys; null counts as left out', () => {
    const from = new Date('2026-01-01T00:00:00.000Z');
    expect(fingerprintOf(['x', { a: 1, b: { c: from, d: [1, 2] } }])).toBe(
      fingerprintOf(['x', { b: { d: [1, 2], c: from, e: null }, a: 1, f: null }]),
    );
    expect(fingerprintOf({ a: undefined })).toBe(fingerprintOf({}));
  });

  it('tells apart what differs', () => {
    const parts = [
      [],
      {},
      'a',
      ['a'],
      ['a', null],
      { a: 1 },
      { a: '1' },
      { a: [1, 2] },
      { a: [2, 1] },
      { a: false },
      { b: new Date(0) },
      { b: new Date(1) },
    ];
    expect(new Set(parts.map(fingerprintOf)).size).toBe(parts.length);
  });
});

describe('batching', () => {
  it('gives each parent its own rows, and an empty page to one without', () => {
    const read = ['a', 'b', 'a'].map((listParent, index) => ({ listParent, id: index, cursor: [`${index}`] }));
    const pages = pagesByParent(['b', 'a', 'c'], read, WINDOW, ordering(['id', 'integer', false]));
    expect(pages.map(page => page.rows.map(row => row.id))).toEqual([[1], [0, 2], []]);
  });

  it('puts rows in the order of their keys', () => {
    expect(byKey(['b', 'x', 'a', 'b'], [{ id: 'a' }, { id: 'b' }], row => row.id)).toEqual([{ id: 'b' }, null, { id: 'a' }, { id: 'b' }]);
  });

  it('reads all keys of a variant at once, each once', async () => {
    const calls: string[][] = [];
    const loaders = new LoaderSet<string, string>();
    const load = (variant: string, key: string) =>
      loaders
        .of(variant, async keys => {
          calls.push([variant, ...keys]);
          return keys.map(each => each.toUpperCase());
        })
        .load(key);
    expect(await Promise.all([load('x', 'a'), load('y', 'a'), load('x', 'b'), load('x', 'a')])).toEqual(['A', 'A', 'B', 'A']);
    expect(calls).toEqual([
      ['x', 'a', 'b'],
      ['y', 'a'],
    ]);
  });
});
