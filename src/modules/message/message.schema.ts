import { sessionNotFound } from '../../errors.ts';
import { messageGlobalId, parseMessageId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionGroups, connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { Node, registerNode } from '../../graphql/node.ts';
import { read } from '../../graphql/row.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { Session } from '../session/session.schema.ts';
import { DateTimeRangeInput } from '../session-filter/session-filter.schema.ts';
import { TokenUsage } from '../usage/usage.schema.ts';
import type { MessageGroup } from './message.columns.ts';
import type { MessageRole, MessageRow } from './message.loader.ts';
import { partsOfStored, type StoredPart } from './message.rules.ts';
import type { BranchView, MessageFilter } from './message-filter.rules.ts';
import { messageList } from './message-filter.sql.ts';

/** Page sizes of lists of messages. */
export const MESSAGE_PAGE: PageSize = { default: 50, max: 500 };

const from = (columns: MessageGroup) => ({ columns });

export const MessageRoleEnum = builder.enumType('MessageRole', {
  description: 'Who speaks in a message.',
  values: {
    USER: {},
    ASSISTANT: {},
    SYSTEM: { description: 'Instructions and summaries.' },
    TOOL: { description: 'The result of a tool or of a command.' },
    OTHER: {},
  } satisfies Record<MessageRole, object>,
});

export const BranchViewEnum = builder.enumType('BranchView', {
  description: 'Which messages of the tree.',
  values: {
    ACTIVE: { description: 'The path from the newest leaf to the root, without what was compacted.' },
    ALL: { description: 'Every branch, compacted messages included.' },
  } satisfies Record<BranchView, object>,
});

const MessageFilterInput = builder.inputRef<MessageFilter>('MessageFilter').implement({
  description: "Which of a session's messages. Fields are joined by AND.",
  fields: t => ({
    roles: t.field({ type: [MessageRoleEnum] }),
    createdAt: t.field({ type: DateTimeRangeInput }),
    afterPosition: t.field({ type: 'SafeInt', description: 'Positions after this one.' }),
    search: t.string({ description: 'These characters anywhere in the content, in any case.' }),
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
  fields: t => ({ type: t.string({ resolve: part => (part.type === 'other' ? part.data.type : part.type) }) }),
  resolveType: part => PART_TYPES[part.type],
});

type PartOf<Type extends StoredPart['type']> = Extract<StoredPart, { type: Type }>;

builder.objectRef<PartOf<'text'>>('TextPart').implement({
  description: 'What was said.',
  interfaces: [MessagePart],
  fields: t => ({ text: t.exposeString('text') }),
});

builder.objectRef<PartOf<'thinking'>>('ThinkingPart').implement({
  description: "The model's reasoning.",
  interfaces: [MessagePart],
  fields: t => ({
    text: t.exposeString('text'),
    redacted: t.exposeBoolean('redacted', { description: 'The provider withheld the text.' }),
  }),
});

builder.objectRef<PartOf<'toolCall'>>('ToolCallPart').implement({
  description: 'A tool the model asks for.',
  interfaces: [MessagePart],
  fields: t => ({
    callId: t.exposeString('callId'),
    name: t.exposeString('name'),
    arguments: t.field({ type: 'JSON', resolve: part => part.arguments ?? {} }),
  }),
});

builder.objectRef<PartOf<'toolResult'>>('ToolResultPart').implement({
  description: 'What a tool answered.',
  interfaces: [MessagePart],
  fields: t => ({
    callId: t.exposeString('callId', { description: 'The `callId` of the call it answers.' }),
    name: t.string({ nullable: true, resolve: part => part.name ?? null }),
    content: t.exposeString('content'),
    isError: t.exposeBoolean('isError'),
    details: t.field({ type: 'JSON', nullable: true, resolve: part => part.details ?? null }),
  }),
});

builder.objectRef<PartOf<'image'>>('ImagePart').implement({
  description: 'An image, kept by reference or as base64 `data`.',
  interfaces: [MessagePart],
  fields: t => ({
    mimeType: t.exposeString('mimeType'),
    url: t.string({ nullable: true, resolve: part => part.url ?? null }),
    data: t.string({ nullable: true, resolve: part => part.data ?? null }),
  }),
});

builder.objectRef<PartOf<'other'>>('OtherPart').implement({
  description: 'A part of a kind this server does not know, whole.',
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
  description: 'A message of a session. The messages of a session are a tree; most often a single line.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => messageGlobalId(row.sessionId, row.id) }),
    messageId: t.id({ description: 'The bare id: a UUID.', resolve: row => row.id }),
    externalId: t.string({
      nullable: true,
      description: 'The id it had in the system it came from.',
      extensions: from('details'),
      resolve: row => read(row, 'externalId'),
    }),
    position: t.field({ type: 'SafeInt', description: '1, 2, 3 … within its session, never reused.', resolve: row => row.position }),
    role: t.field({ type: MessageRoleEnum, resolve: row => row.role }),
    content: t.string({
      description: 'The plain text: the text parts joined by newlines, else the text of the tool results.',
      extensions: from('content'),
      resolve: row => read(row, 'content'),
    }),
    parts: t.field({
      type: [MessagePart],
      extensions: from('parts'),
      resolve: row => partsOfStored(read(row, 'parts'), read(row, 'content')),
    }),
    agentId: t.string({
      nullable: true,
      description: 'Who wrote it, where several agents share a session.',
      extensions: from('details'),
      resolve: row => read(row, 'agentId'),
    }),
    model: t.string({ nullable: true, extensions: from('details'), resolve: row => read(row, 'model') }),
    provider: t.string({ nullable: true, extensions: from('details'), resolve: row => read(row, 'provider') }),
    usage: t.field({
      type: TokenUsage,
      nullable: true,
      description: 'What making this message took; null where nothing was reported.',
      extensions: from('details'),
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
      description: 'How long the model took for it, as reported.',
      extensions: from('details'),
      resolve: row => read(row, 'latencyMs'),
    }),
    stopReason: t.string({
      nullable: true,
      description: 'Why the model stopped, in its words, such as stop or toolUse.',
      extensions: from('details'),
      resolve: row => read(row, 'stopReason'),
    }),
    metadata: t.field({ type: 'JSON', extensions: from('details'), resolve: row => read(row, 'metadata') }),
    active: t.boolean({
      description: 'False once compaction or a later branch has taken it out of the active view.',
      extensions: from('tree'),
      resolve: row => read(row, 'active'),
    }),
    createdAt: t.field({ type: 'DateTime', resolve: row => row.createdAt }),
    session: t.field({
      type: Session,
      resolve: async (row, _args, context, info) => {
        const session = await context.load.sessions.byId(row.sessionId, columnGroups(info, [[]]));
        // Removed for good since the message was read.
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
    description: 'The message it answers or branches from.',
    extensions: from('tree'),
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
    description: 'The last active one.',
    resolve: (row, _args, context, info) => context.load.messages.lastActive(row.id, columnGroups(info, [[]])),
  }),
);

builder.prismaObjectField('Session', 'messages', t =>
  t.field({
    type: MessageConnection,
    description: 'Oldest first, by position.',
    args: {
      ...pagingArguments(MESSAGE_PAGE),
      filter: t.arg({ type: MessageFilterInput }),
      branch: t.arg({ type: BranchViewEnum, defaultValue: 'ACTIVE' }),
    },
    extensions: { pageSize: MESSAGE_PAGE },
    resolve: async (row, args, context, info) => {
      const list = messageList(args.filter, args.branch);
      const window = readWindow(args, MESSAGE_PAGE, list.ordering);
      return {
        page: await context.load.messages.ofSession(row.id, list, window, connectionGroups(info)),
        count: () => context.load.messages.count(row.id, list),
      };
    },
  }),
);

builder.queryField('message', t =>
  t.field({
    type: Message,
    nullable: true,
    description: 'A message by its id; null where there is none or it may not be seen.',
    args: { id: t.arg.id({ required: true, description: 'Global id or bare UUID.' }) },
    extensions: { scope: 'READ' },
    resolve: async (_root, { id }, context, info) => {
      const parts = parseMessageId(id);
      if (parts === null) return null;
      const message = await context.load.messages.byId(parts.messageId, columnGroups(info, [[]]));
      return parts.sessionId === null || parts.sessionId === message?.sessionId ? message : null;
    },
  }),
);
