import type { ColumnValue, FieldsWith } from '../../postgres/columns/columns.ts';
import type { ACTIVITY_COLUMNS, SESSION_COLUMNS, SessionColumn } from '../session/session.columns.ts';

/** Matches one value, one of several, or none of several. An operator that is null counts as left out. */
export interface SetFilter<Value> {
  readonly eq?: Value | null;
  readonly in?: readonly Value[] | null;
  readonly notIn?: readonly Value[] | null;
}

/** Matches a text. Operators are joined by AND. */
export interface StringFilter extends SetFilter<string> {
  readonly contains?: string | null;
  readonly startsWith?: string | null;
  readonly isNull?: boolean | null;
}

/** Matches `from <= t < before`. */
export interface DateTimeRange {
  readonly from?: Date | null;
  readonly before?: Date | null;
}

/** The filter of a column, by its type: StringFilter of a text, DateTimeRange of a timestamp, SetFilter of an enum. */
type ColumnFilter<Of extends SessionColumn> = Of['type'] extends 'text'
  ? StringFilter
  : Of['type'] extends 'timestamptz'
    ? DateTimeRange
    : SetFilter<NonNullable<ColumnValue<Of, Date>>>;

type ColumnFilters<Table extends Readonly<Record<keyof Table, SessionColumn>>> = {
  readonly [Field in FieldsWith<Table, { readonly filter: true }>]?: ColumnFilter<Table[Field]> | null;
};

/**
 * Selects sessions; the fields are joined by AND. Each filterable column of the tables has a field here.
 * The descriptions in the schema say what each field means.
 */
export interface SessionFilter extends ColumnFilters<typeof SESSION_COLUMNS>, ColumnFilters<typeof ACTIVITY_COLUMNS> {
  readonly and?: readonly SessionFilter[] | null;
  readonly or?: readonly SessionFilter[] | null;
  readonly not?: SessionFilter | null;
  readonly id?: SetFilter<string> | null;
  readonly tags?: readonly string[] | null;
  readonly parentId?: string | null;
  readonly root?: boolean | null;
  readonly metadata?: NonNullable<unknown> | null;
  readonly search?: string | null;
  readonly activeWithinMinutes?: number | null;
  readonly archived?: boolean | null;
  readonly pinned?: boolean | null;
  readonly superseded?: boolean | null;
  readonly trashed?: boolean | null;
  readonly empty?: boolean | null;
}

export type SessionOrderField =
  | 'CREATED_AT'
  | 'STARTED_AT'
  | 'UPDATED_AT'
  | 'LAST_ACTIVITY_AT'
  | 'ENDED_AT'
  | 'TITLE'
  | 'MESSAGE_COUNT'
  | 'TOTAL_TOKENS'
  | 'PRIORITY';

export interface SessionOrder {
  readonly field: SessionOrderField;
  /** Default: DESC. */
  readonly direction?: 'ASC' | 'DESC' | null;
}
