import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import { MAX_AMOUNT, TOKEN_LIMIT_PERCENT, type UsageRow } from './usage.rules.ts';

const COLUMNS = {
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  cacheReadTokens: 'cache_read_tokens',
  cacheWriteTokens: 'cache_write_tokens',
  totalTokens: 'total_tokens',
  costNanoUsd: 'cost_nano_usd',
} as const satisfies Record<keyof UsageRow, string>;

/** Each usage column under its field's name, at most 2^53 - 1: a larger number would make the whole response fail. */
function usageColumns(read: (column: Sql) => Sql): Sql {
  return Prisma.join(
    Object.entries(COLUMNS).map(
      ([field, column]) =>
        Prisma.sql`least(${read(Prisma.raw(`a.${column}`))}, ${Prisma.raw(String(MAX_AMOUNT))})::float8 as ${Prisma.raw(`"${field}"`)}`,
    ),
  );
}

/** The SELECT list of a UsageRow from one row of the table `a` (chat_session_activity). */
export const USAGE_COLUMNS: Sql = usageColumns(column => column);

/** The SELECT list of a UsageRow summed over rows of the table `a`. */
export const USAGE_SUMS: Sql = usageColumns(column => Prisma.sql`coalesce(sum(${column}), 0)`);

/** The SQL form of `reachesTokenLimit`; null if the session has no token limit. */
export function hasReachedTokenLimit(totalTokens: Sql, tokenLimit: Sql): Sql {
  return Prisma.sql`${totalTokens} * 100 >= ${tokenLimit}::bigint * ${TOKEN_LIMIT_PERCENT}::bigint`;
}
