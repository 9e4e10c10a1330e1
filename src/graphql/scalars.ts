import { GraphQLError, Kind, type ValueNode } from 'graphql';
import { builder } from './builder.ts';

const RFC_3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})$/;
const POSTGRES_UTC = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.(\d{1,3}))?\+00$/;

/**
 * Parses an RFC 3339 instant in the years 1 to 9999. Null if the text is not one, or if it has non-zero digits after the milliseconds.
 * The DateTime of graphql-scalars is not used because it silently drops microseconds and accepts the year 0.
 */
export function parseInstant(text: string): Date | null {
  const match = RFC_3339.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, , second, fraction = ''] = match;
  // Date reads 24:00 as 0:00 of the next day.
  if (year === '0000' || hour === '24' || second === '60' || !/^\d{0,3}0*$/.test(fraction)) return null;
  const instant = new Date(text.toUpperCase());
  // The offset can move an instant out of these years. JSON and Postgres write such years in other forms.
  const utcYear = instant.getUTCFullYear();
  if (!(utcYear >= 1 && utcYear <= 9999)) return null;
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  return Number(day) <= lastDay ? instant : null;
}

/** Formats an instant as the API returns it. Also accepts the text that Postgres sends in UTC, which is cheaper than a Date. */
export function formatInstant(value: Date | string): string {
  if (typeof value !== 'string') return value.toISOString();
  // The shape of nearly all of them, which slices read in a third of the time: 2026-02-12 20:25:00.123+00
  if (value.length === 26 && value[19] === '.') return `${value.slice(0, 10)}T${value.slice(11, 23)}Z`;
  const match = POSTGRES_UTC.exec(value);
  return match === null ? new Date(value).toISOString() : `${match[1]}T${match[2]}.${(match[3] ?? '').padEnd(3, '0')}Z`;
}

builder.scalarType('DateTime', {
  description: 'An RFC 3339 instant in UTC with milliseconds, such as `2026-02-12T20:25:00.000Z`. Input may have another offset.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  serialize: value => {
    if (value instanceof Date || typeof value === 'string') return formatInstant(value);
    throw new TypeError(`DateTime cannot represent a ${typeof value}.`);
  },
  parseValue: value => {
    const instant = typeof value === 'string' ? parseInstant(value) : null;
    if (instant !== null) return instant;
    throw new GraphQLError(
      `DateTime must be an RFC 3339 instant with at most milliseconds, such as 2026-02-12T20:25:00.000Z; got ${JSON.stringify(value)}.`,
    );
  },
});

builder.scalarType('SafeInt', {
  description: 'An integer from -(2^53 - 1) to 2^53 - 1, as a JSON number.',
  serialize: value => {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new RangeError(`SafeInt cannot represent ${String(value)}.`);
  },
  parseValue: value => {
    if (Number.isSafeInteger(value)) return Number(value);
    throw new GraphQLError(`SafeInt must be an integer of at most 2^53 - 1; got ${JSON.stringify(value)}.`);
  },
  parseLiteral: node => {
    const value = node.kind === Kind.INT ? Number(node.value) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    throw new GraphQLError('SafeInt must be an integer of at most 2^53 - 1.', { nodes: node });
  },
});

builder.scalarType('JSON', {
  description: 'Any JSON value. Used only for data of the caller: metadata, tool arguments and results.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc8259',
  serialize: value => value,
  parseValue: present,
  parseLiteral: (node, variables) => present(jsonOfLiteral(node, variables ?? {})),
});

// For the compiler: graphql-js handles null itself and passes none to a scalar.
function present(value: unknown): NonNullable<unknown> {
  if (value === null || value === undefined) throw new GraphQLError('JSON cannot be null here.');
  return value;
}

function jsonOfLiteral(node: ValueNode, variables: Readonly<Record<string, unknown>>): unknown {
  switch (node.kind) {
    case Kind.VARIABLE:
      return variables[node.name.value] ?? null;
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.STRING:
    case Kind.BOOLEAN:
    case Kind.ENUM:
      return node.value;
    case Kind.LIST:
      return node.values.map(item => jsonOfLiteral(item, variables));
    case Kind.OBJECT:
      // Object.fromEntries defines keys and does not assign them, so `__proto__` is an ordinary key.
      return Object.fromEntries(node.fields.map(field => [field.name.value, jsonOfLiteral(field.value, variables)]));
  }
}
