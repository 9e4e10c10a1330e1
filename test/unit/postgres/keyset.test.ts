import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../src/errors.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
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
const rows = (...ids: string[]) => ids.map(id => ({ id, cursor: JSON.stringify([id]) }));

function errorOf(args: PageArguments): DomainError {
  try {
    readWindow(args, SIZE, BY_TIME);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('readWindow accepted the arguments.');
}

const cursor = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');

describe('readWindow', () => {
  it('uses the default size if none is given, and treats null as absent', () => {
    expect(readWindow({}, SIZE, BY_TIME)).toEqual({ limit: 20, inverted: false, after: null, before: null });
    expect(readWindow({ first: null, last: 5 }, SIZE, BY_TIME)).toEqual({ limit: 5, inverted: true, after: null, before: null });
    expect(readWindow({ first: 0, last: null, after: null, before: null }, SIZE, BY_TIME).limit).toBe(0);
  });

  it('rejects first with last, negative sizes and sizes above the maximum', () => {
    expect(errorOf({ first: 1, last: 1 })).toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'last' } });
    expect(errorOf({ last: -1 })).toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'last' } });
    expect(errorOf({ first: 101 })).toMatchObject({ code: 'PAGE_SIZE_TOO_LARGE', details: { field: 'first', requested: 101, max: 100 } });
  });

  it('rejects cursors that do not belong to this list, in after and in before', () => {
    for (const text of [
      '',
      '!',
      cursor(),
      cursor(1, 'test'),
      cursor(1, 'other', 'infinity', 'x'),
      cursor(2, 'test', 'infinity', 'x'),
      cursor(1, 'test', 1, 2),
    ]) {
      expect(errorOf({ after: text })).toMatchObject({ code: 'BAD_CURSOR', details: { field: 'after' } });
      expect(errorOf({ before: text })).toMatchObject({ code: 'BAD_CURSOR', details: { field: 'before' } });
    }
  });
});

describe('the values of a cursor', () => {
  const isAccepted = (type: SortType, value: string) => {
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
  ])('of type %s are accepted only if Postgres can read them', (type, valid, invalid) => {
    for (const value of valid) expect(isAccepted(type, value), value).toBe(true);
    for (const value of invalid) expect(isAccepted(type, value), value).toBe(false);
  });
});

describe('toPage', () => {
  const byId = ordering(['id', 'text', false]);

  it('uses the row read beyond the page to set hasNextPage', () => {
    expect(rowsToRead(WINDOW)).toBe(3);
    expect(toPage(rows('a', 'b', 'c'), WINDOW, byId)).toMatchObject({
      rows: [{ id: 'a' }, { id: 'b' }],
      hasNextPage: true,
      hasPreviousPage: false,
    });
    expect(toPage(rows('a', 'b'), WINDOW, byId)).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
    expect(toPage(rows(), WINDOW, byId)).toMatchObject({ rows: [], hasNextPage: false, hasPreviousPage: false });
  });

  it('returns a page read from the end in the order of the list', () => {
    const backwards = { ...WINDOW, inverted: true };
    expect(toPage(rows('c', 'b', 'a'), backwards, byId)).toMatchObject({
      rows: [{ id: 'b' }, { id: 'c' }],
      hasNextPage: false,
      hasPreviousPage: true,
    });
  });

  it('assumes that there are rows beyond a given cursor', () => {
    expect(toPage(rows('a'), { ...WINDOW, after: ['x'] }, byId)).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    expect(toPage(rows('a'), { ...WINDOW, before: ['x'] }, byId)).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
    expect(toPage(rows('a'), { ...WINDOW, inverted: true, before: ['x'] }, byId)).toMatchObject({
      hasNextPage: true,
      hasPreviousPage: false,
    });
    expect(emptyPage({ ...WINDOW, limit: 0, after: ['x'] })).toMatchObject({ rows: [], hasNextPage: false, hasPreviousPage: true });
  });

  it('returns cursors that are decoded to their values', () => {
    const page = toPage([{ cursor: JSON.stringify(['Ünïcode "\\ 😀']) }], WINDOW, byId);
    expect(page.cursorAt(1)).toBeNull();
    const first = page.cursorAt(0);
    expect(readWindow({ after: first }, SIZE, byId).after).toEqual(['Ünïcode "\\ 😀']);
  });
});

describe('keysetConditions', () => {
  const text = (list: Ordering, window: Partial<PageWindow>) => keysetConditions(list, { ...WINDOW, ...window }).map(({ sql }) => sql);

  it('is one row comparison if all terms have the same direction, so the index scan starts at the cursor', () => {
    expect(text(BY_TIME, { after: ['1', '2'] })).toEqual(['(t,id) < (?::timestamptz,?::uuid)']);
    expect(text(BY_TIME, { before: ['1', '2'] })).toEqual(['(t,id) > (?::timestamptz,?::uuid)']);
    expect(text(BY_TIME, { after: ['1', '2'], before: ['3', '4'] })).toHaveLength(2);
    expect(text(BY_TIME, {})).toEqual([]);
  });

  it('bounds the first term separately if the terms have different directions', () => {
    const mixed = ordering(['a', 'text', false], ['b', 'integer', true], ['id', 'uuid', false]);
    expect(text(mixed, { after: ['1', '2', '3'] })).toEqual([
      '(a >= ?::text and (a > ?::text or (b <= ?::integer and (b < ?::integer or id > ?::uuid))))',
    ]);
  });

  it('matches an ORDER BY that is reversed for a page from the end', () => {
    expect(orderList(BY_TIME, WINDOW).sql).toBe('t desc,id desc');
    expect(orderList(BY_TIME, { ...WINDOW, inverted: true }).sql).toBe('t asc,id asc');
    expect(allOf([]).sql).toBe('true');
  });
});

describe('fingerprintOf', () => {
  it('ignores the order of keys and treats null as absent', () => {
    const instant = new Date('2026-01-01T00:00:00.000Z');
    expect(fingerprintOf(['x', { a: 1, b: { c: instant, d: [1, 2] } }])).toBe(
      fingerprintOf(['x', { b: { d: [1, 2], c: instant, e: null }, a: 1, f: null }]),
    );
    expect(fingerprintOf({ a: undefined })).toBe(fingerprintOf({}));
  });

  it('differs for different values', () => {
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
