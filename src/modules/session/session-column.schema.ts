import { columnOptions } from '../../graphql/row.ts';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS } from './session.columns.ts';
import type { SessionRow } from './session.loader.ts';

/** The options of a field that shows a column of a session as it is: `label: t.string({ nullable: true, ...column('label') })`. */
export const column = columnOptions<SessionRow>({ ...ACTIVITY_COLUMNS, ...SESSION_COLUMNS });
