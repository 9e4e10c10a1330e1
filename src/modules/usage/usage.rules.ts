import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';

/** Token counts and cost as they are added up; cost in billionths of a US dollar, so that sums stay exact. */
export interface UsageAmounts {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly cacheReadTokens: bigint;
  readonly cacheWriteTokens: bigint;
  readonly totalTokens: bigint;
  readonly costNanoUsd: bigint;
}

/** Usage as a caller reports it: whole counts of at most 2^53 - 1, cost in US dollars. */
export interface UsageReport {
  readonly inputTokens?: number | null;
  readonly outputTokens?: number | null;
  readonly cacheReadTokens?: number | null;
  readonly cacheWriteTokens?: number | null;
  /** The sum of the four where left out. */
  readonly totalTokens?: number | null;
  readonly costUsd?: number | null;
}

const NANO = 1e9;

/** US dollars to billionths, rounded to the nearest; not finite or negative counts as 0. */
export function nanoUsd(costUsd: number): bigint {
  return Number.isFinite(costUsd) && costUsd > 0 ? BigInt(Math.round(costUsd * NANO)) : 0n;
}

/** Billionths to US dollars. */
export function usdOfNano(nano: bigint | number): number {
  return Number(nano) / NANO;
}

/** Counts and sums stop here, at the largest integer that JSON carries: an absurd report must not cost others their answers. */
export const MAX_AMOUNT = BigInt(Number.MAX_SAFE_INTEGER);

function atMost(amount: bigint): bigint {
  return amount < MAX_AMOUNT ? amount : MAX_AMOUNT;
}

/** The amounts of one report, counts left out being 0. */
export function usageAmounts(report: UsageReport): UsageAmounts {
  const inputTokens = BigInt(report.inputTokens ?? 0);
  const outputTokens = BigInt(report.outputTokens ?? 0);
  const cacheReadTokens = BigInt(report.cacheReadTokens ?? 0);
  const cacheWriteTokens = BigInt(report.cacheWriteTokens ?? 0);
  return {
    inputTokens,
    outputTokens,
    cacheReadTokens,
    cacheWriteTokens,
    totalTokens: atMost(
      report.totalTokens == null ? inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens : BigInt(report.totalTokens),
    ),
    costNanoUsd: nanoUsd(report.costUsd ?? 0),
  };
}

/** The share of its token limit, in percent, at which a session fails. */
const TOKEN_LIMIT_PERCENT = 95n;

/** Whether these totals have reached the share of the limit at which a session fails. */
export function reachesTokenLimit(totalTokens: bigint, tokenLimit: number | null): boolean {
  return tokenLimit !== null && totalTokens * 100n >= BigInt(tokenLimit) * TOKEN_LIMIT_PERCENT;
}

/** The same of a session as its row stands under the lock; null where it has no limit. */
export function hasReachedTokenLimit(totalTokens: Sql, tokenLimit: Sql): Sql {
  return Prisma.sql`${totalTokens} * 100 >= ${tokenLimit}::bigint * ${TOKEN_LIMIT_PERCENT}::bigint`;
}
