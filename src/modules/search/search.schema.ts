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
  description: 'How the search text is matched.',
  values: {
    WORDS: { description: 'Words, compared by their English stem; also "phrases", OR and -minus.' },
    SUBSTRING: { description: 'The exact characters, anywhere in the content, in any case. Works for all languages.' },
  },
});

const SearchOrderEnum = builder.enumType('SearchOrder', {
  description: 'The order of search results.',
  values: {
    NEWEST: { description: 'Newest message first.' },
    RELEVANCE: { description: 'Best match first, then newest. Slow if the words are common.' },
  },
});

const { Connection: MessageSearchConnection, Edge: MessageSearchEdge } = connectionTypes<SearchHit>('MessageSearch', Message, {
  nodes: 'messages found',
  totalCount: 'Number of messages found, at most 1,000. Counted only if selected.',
});

builder.objectFields(MessageSearchEdge, t => ({
  score: t.float({ nullable: true, description: 'How well the message matches. Null in NEWEST order.', resolve: edge => edge.node.score }),
  snippet: t.string({
    description: 'The text around the match, HTML-escaped, with matches in `<mark>`.',
    extensions: { columns: 'snippet' },
    resolve: ({ node }) => {
      if (node.headline !== undefined) return headlineHtml(node.headline, { head: read(node, 'head'), tail: read(node, 'tail') });
      return excerptHtml(read(node, 'excerpt'), node.term, { before: read(node, 'cutBefore'), after: read(node, 'cutAfter') });
    },
  }),
}));

builder.queryField('searchMessages', t =>
  t.field({
    type: MessageSearchConnection,
    description: 'Searches the content of messages.',
    args: {
      query: t.arg.string({ required: true, description: 'The search text, 1 to 1,000 characters.' }),
      mode: t.arg({ type: SearchModeEnum, defaultValue: 'WORDS' }),
      orderBy: t.arg({ type: SearchOrderEnum, defaultValue: 'NEWEST' }),
      sessions: t.arg({
        type: SessionFilterInput,
        description: 'Search only in matching sessions. Trashed and superseded sessions are excluded by default, as in `sessions`.',
      }),
      roles: t.arg({ type: [MessageRoleEnum], description: 'USER, ASSISTANT and SYSTEM by default.' }),
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
