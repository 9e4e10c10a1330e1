import { builder } from '../../graphql/builder.ts';
import { type UsageReport, type UsageRow, usdOfNano } from './usage.rules.ts';

export const UsageScope = builder.enumType('UsageScope', {
  description: 'What usage is counted over.',
  values: {
    OWN: { description: 'The session alone.' },
    TREE: {
      description: 'The session and all its descendants that may be seen, each counted once; descendants in the trash are left out.',
    },
  },
});

export const TokenUsage = builder.objectRef<UsageRow>('TokenUsage').implement({
  description: 'Tokens used, and what they cost.',
  fields: t => ({
    inputTokens: t.field({ type: 'SafeInt', resolve: usage => usage.inputTokens }),
    outputTokens: t.field({ type: 'SafeInt', resolve: usage => usage.outputTokens }),
    cacheReadTokens: t.field({
      type: 'SafeInt',
      description: 'Input taken from a cache, not among `inputTokens`.',
      resolve: usage => usage.cacheReadTokens,
    }),
    cacheWriteTokens: t.field({
      type: 'SafeInt',
      description: 'Input written to a cache, not among `inputTokens`.',
      resolve: usage => usage.cacheWriteTokens,
    }),
    totalTokens: t.field({
      type: 'SafeInt',
      description: 'As reported, else the sum of the other four.',
      resolve: usage => usage.totalTokens,
    }),
    costUsd: t.float({ description: 'US dollars, kept to billionths.', resolve: usage => usdOfNano(usage.costNanoUsd) }),
  }),
});

export const TokenUsageInput = builder.inputRef<UsageReport>('TokenUsageInput').implement({
  description: 'Usage to be added. Counts left out are 0.',
  fields: t => ({
    inputTokens: t.field({ type: 'SafeInt' }),
    outputTokens: t.field({ type: 'SafeInt' }),
    cacheReadTokens: t.field({ type: 'SafeInt' }),
    cacheWriteTokens: t.field({ type: 'SafeInt' }),
    totalTokens: t.field({ type: 'SafeInt', description: 'The sum of the other four where left out.' }),
    costUsd: t.float({ description: 'US dollars.' }),
  }),
});
