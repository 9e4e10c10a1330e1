import { describe, expect, it } from 'vitest';
import { nanoUsd, reachesTokenLimit, usageAmounts, usdOfNano } from '../../../../src/modules/usage/usage.rules.ts';

describe('nanoUsd', () => {
  it.each([
    [0, 0n],
    [0.1, 100_000_000n],
    [0.000_000_001, 1n],
    [0.000_000_000_5, 1n],
    [0.000_000_000_4, 0n],
    [123_456.789_012_345, 123_456_789_012_345n],
    [-1, 0n],
    [Number.NaN, 0n],
    [Number.POSITIVE_INFINITY, 0n],
  ])('converts %d dollars to %d', (usd, nano) => {
    expect(nanoUsd(usd)).toBe(nano);
  });

  it('is reversed exactly by usdOfNano, to the billionth', () => {
    for (let step = 1; step <= 2_000; step += 1) {
      const usd = Number((step * 0.000_123_457).toFixed(9));
      expect(usdOfNano(nanoUsd(usd))).toBe(usd);
      expect(usdOfNano(Number(nanoUsd(usd)))).toBe(usd);
    }
  });
});

describe('usageAmounts', () => {
  it('treats absent counts as 0 and an absent total as the sum of the four counts', () => {
    const zero = { inputTokens: 0n, outputTokens: 0n, cacheReadTokens: 0n, cacheWriteTokens: 0n, totalTokens: 0n, costNanoUsd: 0n };
    expect(usageAmounts({})).toEqual(zero);
    expect(usageAmounts({ inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: null })).toEqual({
      inputTokens: 1n,
      outputTokens: 2n,
      cacheReadTokens: 3n,
      cacheWriteTokens: 0n,
      totalTokens: 6n,
      costNanoUsd: 0n,
    });
    expect(usageAmounts({ inputTokens: 5, totalTokens: 0, costUsd: 1 })).toEqual({ ...zero, inputTokens: 5n, costNanoUsd: 1_000_000_000n });
  });
});

describe('reachesTokenLimit', () => {
  it.each([
    [949n, 1_000, false],
    [950n, 1_000, true],
    [0n, 1, false],
    [1n, 1, true],
    [18n, 19, false],
    [19n, 20, true],
    [10n ** 15n, 10_000_000, true],
    [10n ** 15n, null, false],
  ])('for %d of %d tokens is %s', (total, limit, reached) => {
    expect(reachesTokenLimit(total, limit)).toBe(reached);
  });
});
