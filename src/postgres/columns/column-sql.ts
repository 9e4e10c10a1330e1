import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../database.ts';
import { type Column, type Columns, columnName, fieldsOf, type SqlType } from './columns.ts';

const ENUMS: readonly SqlType[] = ['session_status', 'session_kind', 'session_priority', 'message_role'];

/** The name of a type in a cast. */
export function typeName(type: SqlType): Sql {
  return Prisma.raw(typeText(type));
}

function typeText(type: SqlType): string {
  return ENUMS.includes(type) ? `aria_engine.${type}` : type;
}

/**
 * How columns are read. `response`: timestamps as text in UTC, which costs less than a Date, and capped numbers up to 2^53 - 1.
 * `exact`: timestamps as Date, and capped numbers as BigInt. In both forms, other numbers are of type number.
 */
type ReadForm = 'response' | 'exact';

/** The columns of a SELECT list, each under its field's name. */
export function selectColumns<Table extends Columns<Table>>(
  alias: string,
  table: Table,
  fields: readonly (keyof Table & string)[],
  form: ReadForm,
): Sql[] {
  return fields.map(field => {
    const column = Prisma.raw(`${alias}.${columnName(field)}`);
    const value = toRead(column, table[field], form);
    return value === column && columnName(field) === field ? column : Prisma.sql`${value} as ${Prisma.raw(`"${field}"`)}`;
  });
}

/** An expression of a column's type, in the form in which it is read. */
export function toRead(expression: Sql, { type, capped }: Column, form: ReadForm): Sql {
  if (capped === true && form === 'exact') return expression;
  if (capped === true) return Prisma.sql`least(${expression}, ${Prisma.raw(String(Number.MAX_SAFE_INTEGER))})::float8`;
  if (type === 'bigint') return Prisma.sql`${expression}::float8`;
  return type === 'timestamptz' && form === 'response' ? Prisma.sql`${expression}::text` : expression;
}

/** A value as a parameter of a column's type. */
function toParameter(value: unknown, { type }: Column): Sql {
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

/** The parts of an INSERT of several rows that takes one array per column. */
export interface ArrayInsert<Field extends string> {
  /** The column names, for the INSERT and for the alias of `unnest`. */
  readonly names: Sql;
  /** The arguments of `unnest`: the values of the rows, as one array per column. */
  arrays(rows: readonly { readonly [Name in Field]?: unknown }[]): Sql;
}

/** Prepares an INSERT of several rows. The parts that do not depend on the rows are built here, once. */
export function arrayInsert<Table extends Columns<Table>, Field extends keyof Table & string>(
  table: Table,
  fields: readonly Field[],
): ArrayInsert<Field> {
  const casts = fields.map(field => `::${typeText(table[field].type)}[]`);
  const texts = ['', ...casts.map((cast, index) => (index < casts.length - 1 ? `${cast}, ` : cast))];
  return {
    names: Prisma.raw(fields.map(columnName).join(', ')),
    arrays: rows => Prisma.sql(texts, ...fields.map(field => rows.map(row => toStored(row[field], table[field].type)))),
  };
}
