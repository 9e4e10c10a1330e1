import { builder } from '../../graphql/builder.ts';
import { connectionGroups, connectionTypes, forwardArguments } from '../../graphql/connection.ts';
import { read } from '../../graphql/row.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { BranchViewEnum, Message, MessageRoleEnum } from '../message/message.schema.ts';
import { DateTimeRangeInput, SessionFilterInput } from '../session-filter/session-filter.schema.ts';
import { readSearch } from './search.input.ts';
import { type SearchHit, searchOrdering } from './search.loader.ts';
import { excerptHtml, headlineHtml } from './search.rules.ts';

const SEARCH_PAGE: PageSize = { default: 20, max: 100 };

const SearchModeEnum = builder.enumType('SearchMode', {
  description: 'How a query is understood.',
  values: {
    WORDS: { description: 'Stemmed words, quotes, OR and -minus.' },
    SUBSTRING: { description: 'The exact characters, anywhere, any case. For words of any script.' },
  },
});

const SearchOrderEnum = builder.enumType('SearchOrder', {
  description: 'The order of hits.',
  values: {
    NEWEST: { description: 'Newest first.' },
    RELEVANCE: { description: 'Best match first, then newest. Slow where the words are common.' },
  },
});

const { Connection: MessageSearchConnection, Edge: MessageSearchEdge } = connectionTypes<SearchHit>('MessageSearch', Message, {
  nodes: 'messages found',
  totalCount: 'Counted only when asked for, and no further than 1,000.',
});

builder.objectFields(MessageSearchEdge, t => ({
  score: t.float({ nullable: true, description: 'How well it matches. Null in NEWEST order.', resolve: edge => edge.node.score }),
  snippet: t.string({
    description: 'HTML-escaped text around the hit, matches in `<mark>`.',
    extensions: { columns: 'snippet' },
    resolve: ({ node }) => {
      if (node.headline !== undefined) return headlineHtml(node.headline, { head: read(node, 'head'), tail: read(node, 'tail') });
      return excerptHtml(read(node, 'excerpt'), node.term, { before: read(node, 'cutBefore'), behind: read(node, 'cutBehind') });
    },
  }),
}));

builder.queryField('searchMessages', t =>
  t.field({
    type: MessageSearchConnection,
    description: 'The messages that hold a text, in sessions that match.',
    args: {
      query: t.arg.string({ required: true, description: '1 to 1,000 characters. In WORDS mode: words, "phrases", OR and -minus.' }),
      mode: t.arg({ type: SearchModeEnum, defaultValue: 'WORDS' }),
      orderBy: t.arg({ type: SearchOrderEnum, defaultValue: 'NEWEST' }),
      sessions: t.arg({
        type: SessionFilterInput,
        description: 'Only in sessions that match; those in the trash and superseded ones are left out as in `sessions`.',
      }),
      roles: t.arg({ type: [MessageRoleEnum], description: 'USER, ASSISTANT and SYSTEM where left out.' }),
      createdAt: t.arg({ type: DateTimeRangeInput }),
      branch: t.arg({ type: BranchViewEnum, defaultValue: 'ACTIVE' }),
      ...forwardArguments(SEARCH_PAGE),
    },
    extensions: { scope: 'READ', pageSize: SEARCH_PAGE },
    resolve: async (_root, { first, after, ...input }, context, info) => {
      const search = readSearch(input);
      const window = readWindow({ first, after }, SEARCH_PAGE, searchOrdering(search));
      const groups = connectionGroups(info);
      return { page: await context.load.search.page(search, window, groups), count: () => context.load.search.count(search) };
    },
  }),
);
