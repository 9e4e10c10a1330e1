import { Prisma } from '../../generated/prisma/client.ts';
import { selectColumns, toRead } from '../../postgres/columns/column-sql.ts';
import { columnName, fieldsWith } from '../../postgres/columns/columns.ts';
import type { Sql } from '../../postgres/database.ts';
import { ACTIVITY_COLUMNS } from '../session/session.columns.ts';
import { TOKEN_LIMIT_PERCENT } from './usage.rules.ts';

const FIELDS = fieldsWith(ACTIVITY_COLUMNS, 'read', 'usage');

/** The SELECT list of a UsageRow from one row of the table `a` (chat_session_activity). */
export const USAGE_COLUMNS: Sql = Prisma.join(selectColumns('a', ACTIVITY_COLUMNS, FIELDS, 'response'));

/** The SELECT list of a UsageRow summed over rows of the table `a`. */
export const USAGE_SUMS: Sql = Prisma.join(
  FIELDS.map(field => {
    const sum = Prisma.sql`coalesce(sum(${Prisma.raw(`a.${columnName(field)}`)}), 0)`;
    return Prisma.sql`${toRead(sum, ACTIVITY_COLUMNS[field], 'response')} as ${Prisma.raw(`"${field}"`)}`;
  }),
);

/** The SQL form of `reachesTokenLimit`; null if the session has no token limit. */
export function hasReachedTokenLimit(totalTokens: Sql, tokenLimit: Sql): Sql {
  return Prisma.sql`${totalTokens} * 100 >= ${tokenLimit}::bigint * ${TOKEN_LIMIT_PERCENT}::bigint`;
}
