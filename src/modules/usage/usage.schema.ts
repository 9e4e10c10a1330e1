import { builder } from '../../graphql/builder.ts';
import { type UsageReport, type UsageRow, usdOfNano } from './usage.rules.ts';

export const UsageScope = builder.enumType('UsageScope', {
  description: 'The sessions whose usage is added.',
  values: {
    OWN: { description: 'Only the session itself.' },
    TREE: {
      description: 'The session and all its descendants that the caller may see, without those in the trash. Each session counts once.',
    },
  },
});

export const TokenUsage = builder.objectRef<UsageRow>('TokenUsage').implement({
  description: 'Tokens and cost.',
  fields: t => ({
    inputTokens: t.field({ type: 'SafeInt', resolve: usage => usage.inputTokens }),
    outputTokens: t.field({ type: 'SafeInt', resolve: usage => usage.outputTokens }),
    cacheReadTokens: t.field({
      type: 'SafeInt',
      description: 'Input tokens read from a cache. Not included in `inputTokens`.',
      resolve: usage => usage.cacheReadTokens,
    }),
    cacheWriteTokens: t.field({
      type: 'SafeInt',
      description: 'Input tokens written to a cache. Not included in `inputTokens`.',
      resolve: usage => usage.cacheWriteTokens,
    }),
    totalTokens: t.field({
      type: 'SafeInt',
      description: 'As reported. If not reported, the sum of the other four counts.',
      resolve: usage => usage.totalTokens,
    }),
    costUsd: t.float({ description: 'US dollars, exact to a billionth.', resolve: usage => usdOfNano(usage.costNanoUsd) }),
  }),
});

export const TokenUsageInput = builder.inputRef<UsageReport>('TokenUsageInput').implement({
  description: 'Usage to add. A count that is left out is 0.',
  fields: t => ({
    inputTokens: t.field({ type: 'SafeInt' }),
    outputTokens: t.field({ type: 'SafeInt' }),
    cacheReadTokens: t.field({ type: 'SafeInt' }),
    cacheWriteTokens: t.field({ type: 'SafeInt' }),
    totalTokens: t.field({ type: 'SafeInt', description: 'Default: the sum of the other four counts.' }),
    costUsd: t.float({ description: 'US dollars.' }),
  }),
});
