/** Usage as read for a response. The cost is in billionths of a US dollar. */
export interface UsageRow {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly totalTokens: number;
  readonly costNanoUsd: number;
}

/** Usage for additions. The cost is in billionths of a US dollar, which keeps sums exact. */
export interface UsageAmounts {
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly cacheReadTokens: bigint;
  readonly cacheWriteTokens: bigint;
  readonly totalTokens: bigint;
  readonly costNanoUsd: bigint;
}

/** Usage as a caller reports it: whole numbers up to 2^53 - 1, and the cost in US dollars. */
export interface UsageReport {
  readonly inputTokens?: number | null;
  readonly outputTokens?: number | null;
  readonly cacheReadTokens?: number | null;
  readonly cacheWriteTokens?: number | null;
  /** Default: the sum of the four counts above. */
  readonly totalTokens?: number | null;
  readonly costUsd?: number | null;
}

const NANO = 1e9;

/** Converts US dollars to billionths, rounded to the nearest. A negative or infinite cost counts as 0. */
export function nanoUsd(costUsd: number): bigint {
  return Number.isFinite(costUsd) && costUsd > 0 ? BigInt(Math.round(costUsd * NANO)) : 0n;
}

/** Converts billionths of a US dollar to US dollars. */
export function usdOfNano(nano: bigint | number): number {
  return Number(nano) / NANO;
}

/** Upper bound of every count and sum: the largest integer that JSON numbers carry exactly. One absurd report must not make responses fail. */
export const MAX_AMOUNT = BigInt(Number.MAX_SAFE_INTEGER);

function atMost(amount: bigint): bigint {
  return amount < MAX_AMOUNT ? amount : MAX_AMOUNT;
}

/** The amounts of one report. A count that is left out is 0. */
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
export const TOKEN_LIMIT_PERCENT = 95n;

/** True if the total has reached the share of the limit at which a session fails. */
export function reachesTokenLimit(totalTokens: bigint, tokenLimit: number | null): boolean {
  return tokenLimit !== null && totalTokens * 100n >= BigInt(tokenLimit) * TOKEN_LIMIT_PERCENT;
}
