import type { MessageRole, SessionKind, SessionPriority, SessionStatus } from '../../generated/prisma/enums.ts';

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

/** The SQL type of a column; enums without their schema. */
export type SqlType = keyof SqlValues<unknown>;

/** A column of a table. A table of columns is an object from field name to column; the column's name is the field's in snake case. */
export interface Column {
  readonly type: SqlType;
  readonly nullable?: true;
  /** Of a bigint: read as at most 2^53 - 1, the largest integer that a JSON number carries exactly. */
  readonly capped?: true;
}

/** A table of columns. Its keys stay known to the compiler. */
export type Columns<Table> = Readonly<Record<keyof Table, Column>>;

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

type Having<Property extends string, Value = unknown> = { readonly [Name in Property]: Value };

/** The fields of a table whose column has this property, with this value if one is given. */
export function fieldsWith<Table extends Columns<Table>, Property extends string, const Value = unknown>(
  table: Table,
  property: Property,
  value?: Value,
): FieldsWith<Table, Having<Property, Value>>[] {
  const hasProperty = (field: keyof Table): field is FieldsWith<Table, Having<Property, Value>> =>
    Object.entries(table[field]).some(([name, found]) => name === property && (value === undefined || found === value));
  return fieldsOf(table).filter(hasProperty);
}

/** The fields of a table whose column does not have this property. */
export function fieldsWithout<Table extends Columns<Table>, Property extends string>(
  table: Table,
  property: Property,
): Exclude<keyof Table & string, FieldsWith<Table, Having<Property>>>[] {
  type Field = keyof Table & string;
  const lacksProperty = (field: Field): field is Exclude<Field, FieldsWith<Table, Having<Property>>> =>
    !Object.hasOwn(table[field], property);
  return fieldsOf(table).filter(lacksProperty);
}

/** All fields of a table. */
export function fieldsOf<Table extends Columns<Table>>(table: Table): (keyof Table & string)[] {
  return Object.keys(table).filter((field): field is keyof Table & string => field in table);
}

/** A row part with null for each nullable column. */
export function nullsOf<Table extends Columns<Table>>(table: Table): Readonly<Record<FieldsWith<Table, Having<'nullable'>>, null>>;
export function nullsOf(table: Readonly<Record<string, Column>>): object {
  return Object.fromEntries(fieldsWith(table, 'nullable').map(field => [field, null]));
}

/** The name of a field's column, e.g. `node_id` of `nodeId`. */
export function columnName(field: string): string {
  return field.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}
