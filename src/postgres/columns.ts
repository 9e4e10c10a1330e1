import { Prisma } from '../generated/prisma/client.ts';
import type { MessageRole, SessionKind, SessionPriority, SessionStatus } from '../generated/prisma/enums.ts';
import type { Sql } from './database.ts';

/** The TypeScript type of a value of each SQL type. `Instant` is the type of a timestamp: text or Date, depending on how it is read. */
interface SqlValues<Instant> {
  readonly boolean: boolean;
  readonly int: number;
  readonly bigint: number;
  readonly text: string;
  readonly 'text[]': readonly string[];
  readonly uuid: string;
  readonly timestamptz: Instant;
  readonly jsonb: Readonly<Record<string, unknown>>;
  readonly session_status: SessionStatus;
  readonly session_kind: SessionKind;
  readonly session_priority: SessionPriority;
  readonly message_role: MessageRole;
}

const ENUMS: readonly SqlType[] = ['session_status', 'session_kind', 'session_priority', 'message_role'];

/** The SQL type of a column; enums without their schema. */
export type SqlType = keyof SqlValues<unknown>;

/** A column of a table. A table of columns is an object from field name to column; the column's name is the field's in snake case. */
export interface Column {
  readonly type: SqlType;
  readonly nullable?: true;
  /** Of a bigint: read as at most 2^53 - 1, the largest integer that a JSON number carries exactly. */
  readonly capped?: true;
}

type Columns<Table> = Readonly<Record<keyof Table, Column>>;

/** The fields of a table whose column has these properties: `FieldsWith<typeof SESSION_COLUMNS, { read: 'core' }>`. */
export type FieldsWith<Table extends Columns<Table>, Properties> = {
  [Field in keyof Table]: Table[Field] extends Properties ? Field : never;
}[keyof Table] &
  string;

/** The value of a column. */
export type ColumnValue<Of extends Column, Instant> =
  | SqlValues<Instant>[Of['type']]
  | (Of extends { readonly nullable: true } ? null : never);

/** A row of these fields of a table. */
export type RowOf<Table extends Columns<Table>, Instant, Field extends keyof Table = keyof Table> = {
  readonly [Name in Field]: ColumnValue<Table[Name], Instant>;
};

/** The fields of a table whose column has this property, with this value if one is given. */
export function fieldsWith<Table extends Columns<Table>, Property extends string, const Value = unknown>(
  table: Table,
  property: Property,
  value?: Value,
): FieldsWith<Table, { readonly [Name in Property]: Value }>[] {
  const hasProperty = (field: keyof Table): field is FieldsWith<Table, { readonly [Name in Property]: Value }> =>
    Object.entries(table[field]).some(([name, found]) => name === property && (value === undefined || found === value));
  return fieldsOf(table).filter(hasProperty);
}

/** The fields of a table whose column does not have this property. */
export function fieldsWithout<Table extends Columns<Table>, Property extends string>(
  table: Table,
  property: Property,
): Exclude<keyof Table & string, FieldsWith<Table, { readonly [Name in Property]: unknown }>>[] {
  const lacksProperty = (
    field: keyof Table & string,
  ): field is Exclude<keyof Table & string, FieldsWith<Table, { readonly [Name in Property]: unknown }>> =>
    !Object.hasOwn(table[field], property);
  return fieldsOf(table).filter(lacksProperty);
}

/** All fields of a table. */
export function fieldsOf<Table extends Columns<Table>>(table: Table): (keyof Table & string)[] {
  return Object.keys(table).filter((field): field is keyof Table & string => field in table);
}

/** The name of a field's column, e.g. `node_id` of `nodeId`. */
export function columnName(field: string): string {
  return field.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}

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
