import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../database.ts';
import { type Column, type Columns, columnName, fieldsOf, type SqlType } from './columns.ts';

const ENUMS: readonly SqlType[] = ['session_status', 'session_kind', 'session_priority', 'message_role'];

/** The name of a type in a cast. */
export function typeName(type: SqlType): Sql {
  return Prisma.raw(ENUMS.includes(type) ? `aria_engine.${type}` : type);
}

/**
 * The columns of a SELECT list, each under its field's name.
 * @param instants how timestamps are read: as `text` in UTC, which costs less than a Date if it only goes to a client, or as `date`
 */
export function selectColumns<Table extends Columns<Table>>(
  alias: string,
  table: Table,
  fields: readonly (keyof Table & string)[],
  instants: 'text' | 'date',
): Sql[] {
  return fields.map(field => {
    const column = Prisma.raw(`${alias}.${columnName(field)}`);
    const value = toRead(column, table[field], instants);
    return value === column && columnName(field) === field ? column : Prisma.sql`${value} as ${Prisma.raw(`"${field}"`)}`;
  });
}

/** An expression of a column's type, in the form in which it is read. */
export function toRead(expression: Sql, { type, capped }: Column, instants: 'text' | 'date'): Sql {
  if (capped === true) return Prisma.sql`least(${expression}, ${Prisma.raw(String(Number.MAX_SAFE_INTEGER))})::float8`;
  if (type === 'bigint') return Prisma.sql`${expression}::float8`;
  return type === 'timestamptz' && instants === 'text' ? Prisma.sql`${expression}::text` : expression;
}

/** A value as a parameter of a column's type. */
export function toParameter(value: unknown, { type }: Column): Sql {
  return Prisma.sql`${toStored(value, type)}::${typeName(type)}`;
}

function toStored(value: unknown, type: SqlType): unknown {
  if (value === null || value === undefined) return null;
  if (type === 'jsonb') return JSON.stringify(value);
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'bigint' ? String(value) : value;
}

/** An assignment of an UPDATE: the column is set to a value. */
export function assignValue<Table extends Columns<Table>>(table: Table, field: keyof Table & string, value: unknown): Sql {
  return assignExpression(field, toParameter(value, table[field]));
}

/** An assignment of an UPDATE: the column is set to the result of an expression. */
export function assignExpression(field: string, expression: Sql): Sql {
  return Prisma.sql`${Prisma.raw(columnName(field))} = ${expression}`;
}

/** The column names and the values of an INSERT of one row. A field that is undefined keeps the column's default. */
export function insertLists<Table extends Columns<Table>>(
  table: Table,
  row: { readonly [Field in keyof Table]?: unknown },
): { readonly names: Sql; readonly values: Sql } {
  const fields = fieldsOf(table).filter(field => row[field] !== undefined);
  return {
    names: Prisma.raw(fields.map(columnName).join(', ')),
    values: Prisma.join(fields.map(field => toParameter(row[field], table[field]))),
  };
}
