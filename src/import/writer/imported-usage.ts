import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';

/** A session's totals after an import, and what the next import needs to know. */
export interface ImportedUsage {
  readonly totals: UsageAmounts;
  /** The usage that the source has reported so far, as text. Pass it to the next import. Undefined if the source has reported none yet. */
  readonly record: string | undefined;
}

const FIELDS = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens', 'costNanoUsd'] as const;

/** Usage of zero. */
export const NO_USAGE: UsageAmounts = toUsage(() => 0n);

/** The sum of two usages. */
export function addUsage(one: UsageAmounts, other: UsageAmounts): UsageAmounts {
  return toUsage(field => one[field] + other[field]);
}

/**
 * Brings a session's totals up to date with its source: the sum over its messages or, if they carry no usage, the counts of its entry.
 * Only the difference to the last import is added, so usage that was reported through the API stays.
 * @param totals the session's totals now
 * @param record the `record` of the last import
 * @param gained usage of the new messages; null if no messages were imported
 * @param counted counts of the entry; null if it has none
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
