import { sessionNotFound } from '../../errors.ts';
import { messageGlobalId, parseMessageId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionGroups, connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { Node, registerNode } from '../../graphql/node.ts';
import { columnOptions, read } from '../../graphql/row.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { Session } from '../session/session.schema.ts';
import { DateTimeRangeInput } from '../session-filter/session-filter.schema.ts';
import { TokenUsage } from '../usage/usage.schema.ts';
import { MESSAGE_COLUMNS } from './message.columns.ts';
import type { MessageRole, MessageRow } from './message.loader.ts';
import { partsOfStored, type StoredPart } from './message.rules.ts';
import type { BranchView, MessageFilter } from './message-filter.rules.ts';
import { messageList } from './message-filter.sql.ts';

/** Page sizes of lists of messages. */
export const MESSAGE_PAGE: PageSize = { default: 50, max: 500 };

const column = columnOptions<MessageRow>(MESSAGE_COLUMNS);

export const MessageRoleEnum = builder.enumType('MessageRole', {
  description: 'Who wrote a message.',
  values: {
    USER: {},
    ASSISTANT: {},
    SYSTEM: { description: 'Instructions and summaries.' },
    TOOL: { description: 'The result of a tool or of a command.' },
    OTHER: {},
  } satisfies Record<MessageRole, object>,
});

export const BranchViewEnum = builder.enumType('BranchView', {
  description: 'Which messages of the tree to list.',
  values: {
    ACTIVE: { description: 'The messages on the path from the root to the leaf, without compacted messages.' },
    ALL: { description: 'The messages of all branches, with compacted messages.' },
  } satisfies Record<BranchView, object>,
});

const MessageFilterInput = builder.inputRef<MessageFilter>('MessageFilter').implement({
  description: "Selects a session's messages. Fields are joined by AND.",
  fields: t => ({
    roles: t.field({ type: [MessageRoleEnum] }),
    createdAt: t.field({ type: DateTimeRangeInput }),
    afterPosition: t.field({ type: 'SafeInt', description: 'Messages after this position.' }),
    search: t.string({ description: 'The content contains these characters, in any case.' }),
  }),
});

const PART_TYPES: Readonly<Record<StoredPart['type'], string>> = {
  text: 'TextPart',
  thinking: 'ThinkingPart',
  toolCall: 'ToolCallPart',
  toolResult: 'ToolResultPart',
  image: 'ImagePart',
  other: 'OtherPart',
};

const MessagePart = builder.interfaceRef<StoredPart>('MessagePart').implement({
  description: 'A part of a message.',
  fields: t => ({
    type: t.string({
      description: 'The type of the part, as the runtime names it.',
      resolve: part => (part.type === 'other' ? part.data.type : part.type),
    }),
  }),
  resolveType: part => PART_TYPES[part.type],
});

type PartOf<Type extends StoredPart['type']> = Extract<StoredPart, { type: Type }>;

builder.objectRef<PartOf<'text'>>('TextPart').implement({
  description: 'Text.',
  interfaces: [MessagePart],
  fields: t => ({ text: t.exposeString('text') }),
});

builder.objectRef<PartOf<'thinking'>>('ThinkingPart').implement({
  description: "The model's reasoning.",
  interfaces: [MessagePart],
  fields: t => ({
    text: t.exposeString('text'),
    redacted: t.exposeBoolean('redacted', { description: 'True if the provider has withheld the text.' }),
  }),
});

builder.objectRef<PartOf<'toolCall'>>('ToolCallPart').implement({
  description: 'A call of a tool by the model.',
  interfaces: [MessagePart],
  fields: t => ({
    callId: t.exposeString('callId'),
    name: t.exposeString('name'),
    arguments: t.field({ type: 'JSON', resolve: part => part.arguments ?? {} }),
  }),
});

builder.objectRef<PartOf<'toolResult'>>('ToolResultPart').implement({
  description: 'The result of a tool call.',
  interfaces: [MessagePart],
  fields: t => ({
    callId: t.exposeString('callId', { description: 'The `callId` of the tool call.' }),
    name: t.string({ nullable: true, resolve: part => part.name ?? null }),
    content: t.exposeString('content'),
    isError: t.exposeBoolean('isError'),
    details: t.field({ type: 'JSON', nullable: true, resolve: part => part.details ?? null }),
  }),
});

builder.objectRef<PartOf<'image'>>('ImagePart').implement({
  description: 'An image: its URL, or base64 `data`.',
  interfaces: [MessagePart],
  fields: t => ({
    mimeType: t.exposeString('mimeType'),
    url: t.string({ nullable: true, resolve: part => part.url ?? null }),
    data: t.string({ nullable: true, resolve: part => part.data ?? null }),
  }),
});

builder.objectRef<PartOf<'other'>>('OtherPart').implement({
  description: 'A part of a type that this server does not know, unchanged.',
  interfaces: [MessagePart],
  fields: t => ({ data: t.field({ type: 'JSON', resolve: part => part.data }) }),
});

declare module '../../graphql/builder.ts' {
  interface LoadedRows {
    Message: MessageRow;
  }
}

export const Message = builder.prismaObject('Message', {
  interfaces: [Node],
  description: 'A message of a session. The messages of a session form a tree, usually with a single branch.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => messageGlobalId(row.sessionId, row.id) }),
    messageId: t.id({ description: "The message's UUID.", resolve: row => row.id }),
    externalId: t.string({
      nullable: true,
      description: 'The id in the system the message was imported from.',
      ...column('externalId'),
    }),
    position: t.field({
      type: 'SafeInt',
      description: '1, 2, 3 … in its session. A position is never reused.',
      resolve: row => row.position,
    }),
    role: t.field({ type: MessageRoleEnum, resolve: row => row.role }),
    content: t.string({
      description: 'The plain text: the text parts, joined by newlines. If there are none, the text of the tool results.',
      ...column('content'),
    }),
    parts: t.field({
      type: [MessagePart],
      extensions: column('parts').extensions,
      resolve: row => partsOfStored(read(row, 'parts'), read(row, 'content')),
    }),
    agentId: t.string({
      nullable: true,
      description: 'The agent that wrote the message, if several agents share the session.',
      ...column('agentId'),
    }),
    model: t.string({ nullable: true, ...column('model') }),
    provider: t.string({ nullable: true, ...column('provider') }),
    usage: t.field({
      type: TokenUsage,
      nullable: true,
      description: 'Tokens and cost of this message. Null if not reported.',
      extensions: column('totalTokens').extensions,
      resolve: row => {
        const totalTokens = read(row, 'totalTokens');
        if (totalTokens === null) return null;
        return {
          inputTokens: read(row, 'inputTokens') ?? 0,
          outputTokens: read(row, 'outputTokens') ?? 0,
          cacheReadTokens: read(row, 'cacheReadTokens') ?? 0,
          cacheWriteTokens: read(row, 'cacheWriteTokens') ?? 0,
          totalTokens,
          costNanoUsd: read(row, 'costNanoUsd') ?? 0,
        };
      },
    }),
    latencyMs: t.int({
      nullable: true,
      description: 'How long the model took, in milliseconds, as reported.',
      ...column('latencyMs'),
    }),
    stopReason: t.string({
      nullable: true,
      description: 'Why the model stopped, as reported, e.g. stop or toolUse.',
      ...column('stopReason'),
    }),
    metadata: t.field({ type: 'JSON', ...column('metadata') }),
    active: t.boolean({
      description: 'True if the message is in the active view: on the active branch and not compacted.',
      extensions: column('parentPosition').extensions,
      resolve: row => read(row, 'active'),
    }),
    createdAt: t.field({ type: 'DateTime', resolve: row => row.createdAt }),
    session: t.field({
      type: Session,
      resolve: async (row, _args, context, info) => {
        const session = await context.load.sessions.byId(row.sessionId, columnGroups(info, [[]]));
        // The session was removed for good after the message was read.
        if (session === null) throw sessionNotFound(row.sessionId);
        return session;
      },
    }),
  }),
});

builder.prismaObjectField('Message', 'parent', t =>
  t.field({
    type: Message,
    nullable: true,
    description: 'The message that this one follows in the tree. Null for a root.',
    extensions: column('parentPosition').extensions,
    resolve: (row, _args, context, info) => {
      const position = read(row, 'parentPosition');
      return position === null ? null : context.load.messages.byPlace({ sessionId: row.sessionId, position }, columnGroups(info, [[]]));
    },
  }),
);

registerNode(Message, {
  parse: parseMessageId,
  async load({ sessionId, messageId }, context, groups) {
    const message = await context.load.messages.byId(messageId, groups);
    return message?.sessionId === sessionId ? message : null;
  },
});

const { Connection: MessageConnection } = connectionTypes('Message', Message, { nodes: 'messages' });

builder.prismaObjectField('Session', 'lastMessage', t =>
  t.field({
    type: Message,
    nullable: true,
    description: 'The last message of the active view.',
    resolve: (row, _args, context, info) => context.load.messages.lastActive(row.id, columnGroups(info, [[]])),
  }),
);

builder.prismaObjectField('Session', 'messages', t =>
  t.field({
    type: MessageConnection,
    description: "The session's messages, ordered by position.",
    args: {
      ...pagingArguments(MESSAGE_PAGE),
      filter: t.arg({ type: MessageFilterInput }),
      branch: t.arg({ type: BranchViewEnum, defaultValue: 'ACTIVE' }),
    },
    extensions: { pageSize: MESSAGE_PAGE },
    resolve: async (row, args, context, info) => {
      const { messages } = context.load;
      const { list, pageOf } = messages.lists.of(args, () => {
        const list = messageList(args.filter, args.branch);
        return { list, pageOf: messages.pagesOf(list, readWindow(args, MESSAGE_PAGE, list.ordering), connectionGroups(info)) };
      });
      return { page: await pageOf(row.id), count: () => messages.count(row.id, list) };
    },
  }),
);

builder.queryField('message', t =>
  t.field({
    type: Message,
    nullable: true,
    description: 'The message with this id. Null if it does not exist or the caller may not see it.',
    args: { id: t.arg.id({ required: true, description: 'Global id or UUID.' }) },
    extensions: { scope: 'READ' },
    resolve: async (_root, { id }, context, info) => {
      const parts = parseMessageId(id);
      if (parts === null) return null;
      const message = await context.load.messages.byId(parts.messageId, columnGroups(info, [[]]));
      return parts.sessionId === null || parts.sessionId === message?.sessionId ? message : null;
    },
  }),
);
