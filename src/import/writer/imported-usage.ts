import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';

/** A session's totals after an import, and what is to be remembered of it. */
export interface ImportedUsage {
  readonly totals: UsageAmounts;
  /** Text to hand in at the next import; undefined where there is no usage yet. */
  readonly record: string | undefined;
}

const FIELDS = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens', 'costNanoUsd'] as const;

/** No usage at all. */
export const NO_USAGE: UsageAmounts = toUsage(() => 0n);

/** Usage of two sources of it together. */
export function addUsage(one: UsageAmounts, other: UsageAmounts): UsageAmounts {
  return toUsage(field => one[field] + other[field]);
}

/**
 * Brings the totals of a session to what its source says: the sum over its messages, else what its entry counts. Only the difference
 * to the last import is added, so that usage reported here meanwhile stays.
 * @param totals as they stand
 * @param record what the last import remembered
 * @param gained of the messages that are new
 * @param counted of the entry
 */
export function importUsage(
  totals: UsageAmounts,
  record: string | undefined,
  gained: UsageAmounts | null,
  counted: Pick<UsageAmounts, 'inputTokens' | 'outputTokens'> | null,
): ImportedUsage {
  const [from = 'entry', ...counts] = record?.split(':') ?? [];
  const before = toUsage((_field, index) => BigInt(counts[index] ?? 0));
  let now = before;
  let source = from;
  if (gained !== null && isAny(gained)) {
    now = from === 'messages' ? addUsage(before, gained) : gained;
    source = 'messages';
  } else if (from !== 'messages' && counted !== null) {
    now = { ...NO_USAGE, ...counted, totalTokens: counted.inputTokens + counted.outputTokens };
  }
  return {
    totals: toUsage(field => atLeastZero(totals[field] + now[field] - before[field])),
    record: isAny(now) || record !== undefined ? [source, ...FIELDS.map(field => String(now[field]))].join(':') : undefined,
  };
}

function toUsage(amount: (field: (typeof FIELDS)[number], index: number) => bigint): UsageAmounts {
  const [inputTokens = 0n, outputTokens = 0n, cacheReadTokens = 0n, cacheWriteTokens = 0n, totalTokens = 0n, costNanoUsd = 0n] =
    FIELDS.map(amount);
  return { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, totalTokens, costNanoUsd };
}

function isAny(usage: UsageAmounts): boolean {
  return FIELDS.some(field => usage[field] > 0n);
}

function atLeastZero(count: bigint): bigint {
  return count < 0n ? 0n : count;
}
