import type { GraphQLResolveInfo } from 'graphql';
import type { Context } from '../../context.ts';
import { messageGlobalId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { IDEMPOTENCY_KEY } from '../idempotency/idempotency.input.ts';
import { Session } from '../session/session.schema.ts';
import { writtenSession } from '../session-mutation/written-session.schema.ts';
import { TokenUsageInput } from '../usage/usage.schema.ts';
import type { AppendMessageInput, AppendMessagesInput, DeleteMessageInput, MessageInput, MessagePartInput } from './message.input.ts';
import type { MessageRow } from './message.loader.ts';
import { messageNotFound } from './message.rules.ts';
import { Message, MessageRoleEnum } from './message.schema.ts';
import { type Appended, appendMessage, appendMessages, WRITTEN_COLUMNS } from './message-append.service.ts';
import { type DeletedMessage, deleteMessage } from './message-delete.service.ts';

type PartInput<Name extends keyof MessagePartInput> = NonNullable<MessagePartInput[Name]>;

const TextPartInput = builder.inputRef<PartInput<'text'>>('TextPartInput').implement({
  fields: t => ({ text: t.string({ required: true }) }),
});

const ThinkingPartInput = builder.inputRef<PartInput<'thinking'>>('ThinkingPartInput').implement({
  fields: t => ({ text: t.string({ required: true }), redacted: t.boolean({ defaultValue: false }) }),
});

const ToolCallPartInput = builder.inputRef<PartInput<'toolCall'>>('ToolCallPartInput').implement({
  fields: t => ({
    callId: t.string({ required: true }),
    name: t.string({ required: true }),
    arguments: t.field({ type: 'JSON', required: true }),
  }),
});

const ToolResultPartInput = builder.inputRef<PartInput<'toolResult'>>('ToolResultPartInput').implement({
  fields: t => ({
    callId: t.string({ required: true }),
    name: t.string(),
    content: t.string({ required: true }),
    isError: t.boolean({ defaultValue: false }),
    details: t.field({ type: 'JSON' }),
  }),
});

const ImagePartInput = builder.inputRef<PartInput<'image'>>('ImagePartInput').implement({
  description: 'An image: either `url` or base64 `data`.',
  fields: t => ({ mimeType: t.string({ required: true }), url: t.string(), data: t.string() }),
});

const MessagePartInputType = builder.inputRef<MessagePartInput>('MessagePartInput').implement({
  description: 'One part of a message. Set exactly one field.',
  isOneOf: true,
  fields: t => ({
    text: t.field({ type: TextPartInput }),
    thinking: t.field({ type: ThinkingPartInput }),
    toolCall: t.field({ type: ToolCallPartInput }),
    toolResult: t.field({ type: ToolResultPartInput }),
    image: t.field({ type: ImagePartInput }),
    other: t.field({ type: 'JSON', description: 'An object with a text field `type`.' }),
  }),
});

const MessageInputType = builder.inputRef<MessageInput>('MessageInput').implement({
  description: 'A new message. Content, parts or both are required. With both, content becomes a text part before the others.',
  fields: t => ({
    role: t.field({ type: MessageRoleEnum, required: true }),
    content: t.string({ description: 'At most 100,000 characters.' }),
    parts: t.field({ type: [MessagePartInputType] }),
    agentId: t.string({ description: 'The agent that wrote the message, if several agents share the session. At most 200 characters.' }),
    model: t.string({ description: 'At most 200 characters.' }),
    provider: t.string({ description: 'At most 200 characters.' }),
    usage: t.field({ type: TokenUsageInput, description: "Stored with the message, and added to the session's totals." }),
    latencyMs: t.int({ description: 'How long the model took, in milliseconds.' }),
    stopReason: t.string({ description: 'Why the model stopped, e.g. stop or toolUse. At most 200 characters.' }),
    metadata: t.field({ type: 'JSON', description: 'A JSON object of at most 64 KiB.' }),
    parentId: t.id({
      description: 'Global id or UUID of the message to follow. Default: the current leaf. MESSAGE_NOT_FOUND if it is not in this session.',
    }),
    createdAt: t.field({ type: 'DateTime', description: 'Default: now.' }),
  }),
});

const AppendMessageInputType = builder.inputRef<AppendMessageInput>('AppendMessageInput').implement({
  fields: t => ({
    sessionId: t.id({ required: true, description: 'Global id or UUID of the session.' }),
    message: t.field({ type: MessageInputType, required: true }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

const AppendMessagesInputType = builder.inputRef<AppendMessagesInput>('AppendMessagesInput').implement({
  description: '1 to 100 messages to append in this order, all or none.',
  fields: t => ({
    sessionId: t.id({ required: true, description: 'Global id or UUID of the session.' }),
    messages: t.field({ type: [MessageInputType], required: true }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});

const DeleteMessageInputType = builder.inputRef<DeleteMessageInput>('DeleteMessageInput').implement({
  fields: t => ({
    id: t.id({ required: true, description: 'Global id or UUID of the message.' }),
    sessionId: t.id({ required: true, description: "Global id or UUID of the message's session." }),
  }),
});

const AppendMessagePayload = builder.objectRef<Appended>('AppendMessagePayload').implement({
  fields: t => ({
    message: t.field({
      type: Message,
      resolve: (payload, _args, context, info) => {
        const [message] = payload.messages;
        if (message === undefined) throw new Error('The append returned no message.');
        return appended(message, context, info);
      },
    }),
    session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
  }),
});

const AppendMessagesPayload = builder.objectRef<Appended>('AppendMessagesPayload').implement({
  fields: t => ({
    messages: t.field({
      type: [Message],
      resolve: (payload, _args, context, info) => Promise.all(payload.messages.map(message => appended(message, context, info))),
    }),
    session: t.field({ type: Session, resolve: (payload, _args, context, info) => writtenSession(payload, context, info) }),
  }),
});

/** A message that was just written. It is read again only if the operation needs other columns than the write returned. */
async function appended(written: MessageRow, context: Context, info: GraphQLResolveInfo): Promise<MessageRow> {
  const groups = columnGroups(info, [[]]);
  if (groups.every(group => WRITTEN_COLUMNS.includes(group))) return written;
  const message = await context.load.messages.byPlace(written, groups);
  // The message, or its session, was deleted after the write.
  if (message === null) throw messageNotFound(written.id);
  return message;
}

const DeleteMessagePayload = builder.objectRef<DeletedMessage>('DeleteMessagePayload').implement({
  fields: t => ({
    deletedId: t.id({
      description: 'Global id of the message.',
      resolve: deleted => messageGlobalId(deleted.sessionId, deleted.messageId),
    }),
    session: t.field({ type: Session, resolve: (deleted, _args, context, info) => writtenSession(deleted, context, info) }),
  }),
});

builder.mutationFields(t => ({
  appendMessage: t.field({
    type: AppendMessagePayload,
    description: 'Appends one message after the current leaf, or after the parent that it names.',
    args: { input: t.arg({ type: AppendMessageInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: (_root, { input }, context) => appendMessage(context.caller, input),
  }),
  appendMessages: t.field({
    type: AppendMessagesPayload,
    description: 'Appends messages, all or none. Each follows the one before, unless it names a parent.',
    args: { input: t.arg({ type: AppendMessagesInputType, required: true }) },
    extensions: { scope: 'WRITE' },
    resolve: (_root, { input }, context) => appendMessages(context.caller, input),
  }),
  deleteMessage: t.field({
    type: DeleteMessagePayload,
    description: "Deletes a message. Its replies become replies to its parent. Its usage stays in the session's totals.",
    args: { input: t.arg({ type: DeleteMessageInputType, required: true }) },
    extensions: { scope: 'MANAGE' },
    resolve: (_root, { input }, context) => deleteMessage(context.caller, input),
  }),
}));
