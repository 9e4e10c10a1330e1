import { badInput, DomainError } from '../../errors.ts';
import type { RowOf } from '../../postgres/columns/columns.ts';
import type { KeyedInput } from '../idempotency/idempotency.input.ts';
import { assertStorable, isJsonObject, readMetadata, readText } from '../text/text.input.ts';
import { characterCount } from '../text/text.rules.ts';
import type { UsageReport } from '../usage/usage.rules.ts';
import { MESSAGE_COLUMNS } from './message.columns.ts';
import type { MessageRole } from './message.loader.ts';
import {
  contentOf,
  MAX_CALL_LENGTH,
  MAX_MESSAGE_LENGTH,
  type OtherStoredPart,
  partLength,
  partsOfStored,
  partsToStore,
  type StoredPart,
} from './message.rules.ts';

type Maybe<Value> = Value | null | undefined;

/** A part as the caller sends it. Exactly one field is set. */
export interface MessagePartInput {
  readonly text?: Maybe<{ readonly text: string }>;
  readonly thinking?: Maybe<{ readonly text: string; readonly redacted?: Maybe<boolean> }>;
  readonly toolCall?: Maybe<{ readonly callId: string; readonly name: string; readonly arguments: NonNullable<unknown> }>;
  readonly toolResult?: Maybe<{
    readonly callId: string;
    readonly name?: Maybe<string>;
    readonly content: string;
    readonly isError?: Maybe<boolean>;
    readonly details?: NonNullable<unknown> | null;
  }>;
  readonly image?: Maybe<{ readonly mimeType: string; readonly url?: Maybe<string>; readonly data?: Maybe<string> }>;
  readonly other?: NonNullable<unknown> | null;
}

export interface MessageInput {
  readonly role: MessageRole;
  readonly content?: Maybe<string>;
  readonly parts?: Maybe<readonly MessagePartInput[]>;
  readonly agentId?: Maybe<string>;
  readonly model?: Maybe<string>;
  readonly provider?: Maybe<string>;
  readonly usage?: Maybe<UsageReport>;
  readonly latencyMs?: Maybe<number>;
  readonly stopReason?: Maybe<string>;
  readonly metadata?: NonNullable<unknown> | null;
  readonly parentId?: Maybe<string>;
  readonly createdAt?: Maybe<Date>;
}

export interface AppendMessageInput extends KeyedInput {
  readonly sessionId: string;
  readonly message: MessageInput;
}

export interface AppendMessagesInput extends KeyedInput {
  readonly sessionId: string;
  readonly messages: readonly MessageInput[];
}

export interface DeleteMessageInput {
  readonly id: string;
  readonly sessionId: string;
}

type CheckedField = 'role' | 'content' | 'agentId' | 'model' | 'provider' | 'latencyMs' | 'stopReason' | 'metadata';

/** A message that can be stored. */
export interface CheckedMessage extends RowOf<typeof MESSAGE_COLUMNS, Date, CheckedField> {
  readonly parts: readonly StoredPart[] | null;
  readonly usage: UsageReport | null;
  /** As the caller wrote it. */
  readonly parentId: string | null;
  /** Null for the time of the append. */
  readonly createdAt: Date | null;
}

const MAX_MESSAGES = 100;
const MAX_PARTS = 1_000;

/**
 * Checks the messages of one call.
 * @param field path of the messages, e.g. `input.messages`
 * @throws DomainError BAD_USER_INPUT, MESSAGE_TOO_LARGE
 */
export function readMessages(messages: readonly MessageInput[], field: string): CheckedMessage[] {
  if (messages.length < 1 || messages.length > MAX_MESSAGES) throw badInput(field, `must hold 1 to ${MAX_MESSAGES} messages`);
  const read = messages.map((message, index) => readMessage(message, `${field}.${index}`));
  const length = read.reduce((sum, message) => sum + weightOf(message), 0);
  if (length > MAX_CALL_LENGTH) throw tooLarge(field, length, MAX_CALL_LENGTH);
  return read;
}

/**
 * Checks one message of a call.
 * @param field path of the message, e.g. `input.message`
 * @throws DomainError as `readMessages`
 */
export function readMessage(message: MessageInput, field: string): CheckedMessage {
  const { parentId: _parentId, ...storable } = message;
  assertStorable(storable, field);
  const name = (key: 'agentId' | 'model' | 'provider' | 'stopReason') =>
    message[key] == null ? null : readText(message[key], `${field}.${key}`, MESSAGE_COLUMNS[key].maxLength);
  const given = (message.parts ?? []).map((part, index) => readPart(part, `${field}.parts.${index}`));
  if (given.length > MAX_PARTS) throw badInput(`${field}.parts`, `must not hold more than ${MAX_PARTS} parts`);
  const parts: StoredPart[] = message.content == null ? given : [{ type: 'text', text: message.content }, ...given];
  if (parts.length === 0) throw badInput(field, 'must have content or parts');
  const content = contentOf(parts);
  const length = characterCount(content);
  if (length > MAX_MESSAGE_LENGTH) throw tooLarge(`${field}.content`, length, MAX_MESSAGE_LENGTH);
  if (message.latencyMs != null && message.latencyMs < 0) throw badInput(`${field}.latencyMs`, 'must not be negative');
  const checked = {
    role: message.role,
    content,
    parts: partsToStore(parts, content),
    agentId: name('agentId'),
    model: name('model'),
    provider: name('provider'),
    usage: message.usage == null ? null : readUsage(message.usage, `${field}.usage`),
    latencyMs: message.latencyMs ?? null,
    stopReason: name('stopReason'),
    metadata: readMetadata(message.metadata, `${field}.metadata`),
    parentId: message.parentId ?? null,
    createdAt: message.createdAt ?? null,
  };
  const weight = weightOf(checked);
  if (weight > MAX_CALL_LENGTH) throw tooLarge(field, weight, MAX_CALL_LENGTH);
  return checked;
}

function tooLarge(field: string, length: number, maxLength: number): DomainError {
  return new DomainError('MESSAGE_TOO_LARGE', `${field} must have at most ${maxLength} characters; got ${length}.`, {
    field,
    length,
    maxLength,
  });
}

function weightOf({ content, parts }: Pick<CheckedMessage, 'content' | 'parts'>): number {
  return partsOfStored(parts, content).reduce((sum, part) => sum + partLength(part), 0);
}

const COUNTS = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'totalTokens'] as const;
const MAX_COST_USD = 1_000_000;

function readUsage(usage: UsageReport, field: string): UsageReport {
  for (const count of COUNTS) {
    const value = usage[count] ?? 0;
    if (value < 0) throw badInput(`${field}.${count}`, 'must not be negative');
  }
  const cost = usage.costUsd ?? 0;
  if (!(cost >= 0 && cost <= MAX_COST_USD)) throw badInput(`${field}.costUsd`, `must be from 0 to ${MAX_COST_USD}`);
  return usage;
}

function readPart(part: MessagePartInput, field: string): StoredPart {
  const { text, thinking, toolCall, toolResult, image, other } = part;
  if (text != null) return { type: 'text', text: text.text };
  if (thinking != null) return { type: 'thinking', text: thinking.text, redacted: thinking.redacted ?? false };
  if (toolCall != null) return { type: 'toolCall', callId: toolCall.callId, name: toolCall.name, arguments: toolCall.arguments };
  if (toolResult != null) {
    const { callId, name, content, isError, details } = toolResult;
    return {
      type: 'toolResult',
      callId,
      content,
      isError: isError ?? false,
      ...(name == null ? {} : { name }),
      ...(details == null ? {} : { details }),
    };
  }
  if (image != null) {
    if ((image.url == null) === (image.data == null)) throw badInput(`${field}.image`, 'must have either url or data');
    return {
      type: 'image',
      mimeType: image.mimeType,
      ...(image.url == null ? {} : { url: image.url }),
      ...(image.data == null ? {} : { data: image.data }),
    };
  }
  if (!isTyped(other)) throw badInput(`${field}.other`, 'must be an object with a string type');
  return { type: 'other', data: other };
}

function isTyped(value: unknown): value is OtherStoredPart['data'] {
  return isJsonObject(value) && typeof value.type === 'string';
}
