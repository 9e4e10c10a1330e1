import { GraphQLScalarType, parseValue as parseLiteral } from 'graphql';
import { describe, expect, it } from 'vitest';
import { formatInstant, parseInstant } from '../../../src/graphql/scalars.ts';
import { createSchema } from '../../../src/schema.ts';

const schema = createSchema();

function scalar(name: string): GraphQLScalarType {
  const type = schema.getType(name);
  if (!(type instanceof GraphQLScalarType)) throw new Error(`There is no scalar ${name}.`);
  return type;
}

const [dateTime, safeInt, json] = [scalar('DateTime'), scalar('SafeInt'), scalar('JSON')];
const literal = (type: GraphQLScalarType, text: string, variables: Record<string, unknown> = {}) =>
  type.parseLiteral(parseLiteral(text), variables);

describe('DateTime', () => {
  it.each([
    ['2026-02-12T20:25:00.000Z', '2026-02-12T20:25:00.000Z'],
    ['2026-02-12T20:25:00Z', '2026-02-12T20:25:00.000Z'],
    ['2026-02-12t20:25:00.5z', '2026-02-12T20:25:00.500Z'],
    ['2026-02-12T20:25:00.123000Z', '2026-02-12T20:25:00.123Z'],
    ['2026-02-12T20:25:00+05:30', '2026-02-12T14:55:00.000Z'],
    ['2026-02-12T20:25:00-00:00', '2026-02-12T20:25:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ['0001-01-01T00:00:00-00:01', '0001-01-01T00:01:00.000Z'],
  ])('parses %s', (text, instant) => {
    expect(parseInstant(text)?.toISOString()).toBe(instant);
    expect(dateTime.parseValue(text)).toEqual(new Date(instant));
    expect(literal(dateTime, JSON.stringify(text))).toEqual(new Date(instant));
  });

  it.each([
    '',
    '2026-02-12',
    '2026-02-12T20:25Z',
    '2026-02-12T20:25:00',
    '2026-02-12 20:25:00Z',
    '2026-02-12T20:25:00.0001Z',
    '2026-02-12T20:25:00.Z',
    '2026-02-29T00:00:00Z',
    '2026-02-30T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-02-12T24:00:00Z',
    '2026-02-12T24:00:01Z',
    '2026-02-12T20:60:00Z',
    '2026-02-12T20:25:60Z',
    '2026-02-12T20:25:00+24:00',
    '0000-01-01T00:00:00Z',
    '10000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    '+002026-02-12T20:25:00Z',
    '２０２６-02-12T20:25:00Z',
    ' 2026-02-12T20:25:00Z',
    '2026-02-12T20:25:00Z\n',
    'now',
    1_770_000_000_000,
    true,
    null,
    {},
  ])('rejects %j', value => {
    expect(() => dateTime.parseValue(value)).toThrow('RFC 3339');
  });

  it('rejects a literal that is not a string', () => {
    for (const text of ['20260212', 'true', '{ a: 1 }', '["2026-02-12T20:25:00Z"]', 'TODAY'])
      expect(() => literal(dateTime, text)).toThrow();
  });

  it('serializes timestamps as Postgres returns them, and Date objects', () => {
    expect(formatInstant('2026-02-12 20:25:00+00')).toBe('2026-02-12T20:25:00.000Z');
    expect(formatInstant('2026-02-12 20:25:00.5+00')).toBe('2026-02-12T20:25:00.500Z');
    expect(formatInstant('2026-02-12 20:25:00.123+00')).toBe('2026-02-12T20:25:00.123Z');
    expect(formatInstant('2026-02-12T20:25:00.123Z')).toBe('2026-02-12T20:25:00.123Z');
    expect(dateTime.serialize(new Date(0))).toBe('1970-01-01T00:00:00.000Z');
    expect(() => dateTime.serialize(0)).toThrow(TypeError);
  });
});

describe('SafeInt', () => {
  const MAX = Number.MAX_SAFE_INTEGER;

  it('accepts whole numbers up to 2^53 - 1', () => {
    for (const value of [0, -1, MAX, -MAX]) {
      expect(safeInt.parseValue(value)).toBe(value);
      expect(literal(safeInt, String(value))).toBe(value);
      expect(safeInt.serialize(value)).toBe(value);
    }
    expect(safeInt.serialize(2n ** 53n - 1n)).toBe(MAX);
  });

  it('rejects all other values', () => {
    for (const value of [MAX + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1', true, null, [1], {}])
      expect(() => safeInt.parseValue(value)).toThrow();
    for (const text of ['9007199254740992', '1.0', '1e3', '"1"', 'true', '[1]', '{ a: 1 }']) expect(() => literal(safeInt, text)).toThrow();
    expect(() => safeInt.serialize(2n ** 53n)).toThrow(RangeError);
    expect(() => safeInt.serialize(0.5)).toThrow(RangeError);
  });
});

describe('JSON', () => {
  it('accepts literals of any shape', () => {
    expect(literal(json, '{ a: 1, b: [1.5, "x", true, NAME, null, -2e3], c: { d: {} } }')).toEqual({
      a: 1,
      b: [1.5, 'x', true, 'NAME', null, -2_000],
      c: { d: {} },
    });
    expect(literal(json, '"""block"""')).toBe('block');
  });

  it('keeps the keys __proto__ and constructor as plain keys', () => {
    const value = literal(json, '{ __proto__: { polluted: true }, constructor: 1 }') as object;
    expect(Object.hasOwn(value, '__proto__')).toBe(true);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('passes values on unchanged and rejects null', () => {
    for (const value of [0, '', false, [], {}, { a: null }]) expect(json.parseValue(value)).toBe(value);
    expect(() => json.parseValue(null)).toThrow();
    expect(() => literal(json, 'null')).toThrow();
  });
});
