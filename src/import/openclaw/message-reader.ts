import type { MessageRole } from '../../generated/prisma/enums.ts';
import { contentOf, partsToStore, type StoredPart } from '../../modules/message/message.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import { nanoUsd, type UsageAmounts } from '../../modules/usage/usage.rules.ts';
import type { CompactionStart, JsonObject, SourceMessage } from '../source.ts';

const ROLES: Readonly<Record<string, MessageRole>> = {
  user: 'USER',
  assistant: 'ASSISTANT',
  system: 'SYSTEM',
  branchSummary: 'SYSTEM',
  compactionSummary: 'SYSTEM',
  tool: 'TOOL',
  toolResult: 'TOOL',
  bashExecution: 'TOOL',
};

/** Fields that are imported into columns or parts, or repeat the line. All other fields go to the message's metadata. */
const PLACED_MESSAGE_FIELDS = new Set(['role', 'content', 'text', 'model', 'provider', 'usage', 'stopReason', 'timestamp']);
const PLACED_TOOL_RESULT_FIELDS = new Set(['toolCallId', 'toolName', 'isError', 'details']);
const PLACED_BASH_FIELDS = new Set(['command', 'output', 'exitCode', 'cancelled', 'truncated', 'fullOutputPath']);
const PLACED_ENTRY_FIELDS = new Set(['type', 'id', 'parentId', 'timestamp', 'content', 'summary']);

/** A time as transcripts and stores write it, ISO text or milliseconds. Null for other values and years outside 1 to 9999. */
export function toInstant(value: unknown): Date | null {
  if (typeof value !== 'string' && typeof value !== 'number') return null;
  const instant = new Date(value);
  const year = instant.getUTCFullYear();
  return year >= 1 && year <= 9_999 ? instant : null;
}

/**
 * The message of a line of type `message`, `custom_message`, `compaction` or `branch_summary`.
 * @param entry the parsed line, without characters that Postgres cannot store
 * @param entryId used as the call id of a tool result that names none
 * @returns null for a line of another type; 'malformed' if the line's `message` is not an object
 */
export function readTranscriptMessage(entry: JsonObject, entryId: string): SourceMessage | null | 'malformed' {
  switch (entry.type) {
    case 'message':
      return isJsonObject(entry.message) ? readChatMessage(entry.message, entryId) : 'malformed';
    case 'custom_message':
      return toMessage('OTHER', readBlocks(entry.content), omit(entry, PLACED_ENTRY_FIELDS));
    case 'compaction':
    case 'branch_summary': {
      const parts = [{ type: 'text' as const, text: textOr(entry.summary, '') }];
      const metadata = { type: entry.type, ...omit(entry, PLACED_ENTRY_FIELDS) };
      return { ...toMessage('SYSTEM', parts, metadata), compaction: entry.type === 'compaction' ? compactionStart(entry) : null };
    }
    default:
      return null;
  }
}

function readChatMessage(message: JsonObject, entryId: string): SourceMessage {
  const role = textOr(message.role, '');
  const known = Object.hasOwn(ROLES, role) ? ROLES[role] : undefined;
  const metadata: Record<string, unknown> = omit(message, PLACED_MESSAGE_FIELDS);
  const content = message.content ?? message.text;
  let parts = readBlocks(content ?? message.summary);
  if (content === undefined) delete metadata.summary;
  if (role === 'toolResult') {
    removeFields(metadata, PLACED_TOOL_RESULT_FIELDS);
    parts = toolResultParts(message, parts, entryId);
  } else if (role === 'bashExecution') {
    removeFields(metadata, PLACED_BASH_FIELDS);
    parts = [bashResult(message, entryId)];
  }
  if (known === undefined || role === 'branchSummary' || role === 'compactionSummary') metadata.role = role;
  return {
    ...toMessage(known ?? 'OTHER', parts, metadata),
    model: textOr(message.model, null),
    provider: textOr(message.provider, null),
    usage: readUsage(message.usage),
    stopReason: textOr(message.stopReason, null),
  };
}

function toMessage(role: MessageRole, parts: readonly StoredPart[], metadata: JsonObject): SourceMessage {
  const content = contentOf(parts);
  return {
    role,
    content,
    parts: partsToStore(parts, content),
    model: null,
    provider: null,
    usage: null,
    stopReason: null,
    metadata,
    compaction: null,
  };
}

function compactionStart(entry: JsonObject): CompactionStart | null {
  if (typeof entry.firstKeptEntryId === 'string') return { entryId: entry.firstKeptEntryId };
  const index = entry.firstKeptEntryIndex;
  return typeof index === 'number' && Number.isInteger(index) && index >= 0 ? { entryIndex: index } : null;
}

function readBlocks(content: unknown): StoredPart[] {
  if (content === undefined || content === null) return [];
  return (Array.isArray(content) ? content : [content]).map(readBlock);
}

function readBlock(block: unknown): StoredPart {
  if (typeof block === 'string') return { type: 'text', text: block };
  if (!isJsonObject(block)) return { type: 'other', data: { type: 'unknown', value: block } };
  return readKnownBlock(block) ?? { type: 'other', data: { ...block, type: textOr(block.type, 'unknown') } };
}

/** Null for a block of an unknown type or without a field that its type needs. The caller then keeps the whole block. */
function readKnownBlock(block: JsonObject): StoredPart | null {
  switch (block.type) {
    case 'text':
    case 'output_text':
    case 'input_text':
      return typeof block.text === 'string' ? { type: 'text', text: block.text } : null;
    case 'thinking':
      return typeof block.thinking === 'string' ? { type: 'thinking', text: block.thinking, redacted: block.redacted === true } : null;
    case 'redacted_thinking':
      return { type: 'thinking', text: '', redacted: true };
    case 'toolCall':
    case 'tool_call':
    case 'toolUse':
    case 'tool_use':
      return typeof block.name === 'string'
        ? { type: 'toolCall', callId: textOr(block.id, ''), name: block.name, arguments: block.arguments ?? block.input ?? {} }
        : null;
    case 'toolResult':
    case 'tool_result':
      return {
        type: 'toolResult',
        callId: textOr(block.toolCallId ?? block.tool_use_id ?? block.tool_call_id ?? block.id, ''),
        content: contentOf(readBlocks(block.content)),
        isError: (block.isError ?? block.is_error) === true,
      };
    case 'image':
      return readImage(block);
    default:
      return null;
  }
}

function readImage(block: JsonObject): StoredPart | null {
  const source = isJsonObject(block.source) ? block.source : block;
  const mimeType = source.mimeType ?? source.media_type;
  if (typeof mimeType !== 'string') return null;
  if (typeof source.data === 'string') return { type: 'image', mimeType, data: source.data };
  return typeof source.url === 'string' ? { type: 'image', mimeType, url: source.url } : null;
}

function toolResultParts(message: JsonObject, parts: readonly StoredPart[], entryId: string): StoredPart[] {
  const name = textOr(message.toolName ?? message.tool_name, null);
  const result: StoredPart = {
    type: 'toolResult',
    callId: textOr(message.toolCallId, entryId),
    ...(name === null ? {} : { name }),
    content: contentOf(parts),
    isError: message.isError === true,
    ...(message.details === undefined ? {} : { details: message.details }),
  };
  return [result, ...parts.filter(part => part.type !== 'text')];
}

function bashResult(message: JsonObject, entryId: string): StoredPart {
  const { command, exitCode, cancelled, truncated, fullOutputPath } = message;
  return {
    type: 'toolResult',
    callId: entryId,
    name: 'bash',
    content: textOr(message.output, ''),
    isError: (typeof exitCode === 'number' && exitCode !== 0) || cancelled === true,
    details: { command, exitCode, cancelled, truncated, fullOutputPath },
  };
}

/** The usage of a message, with the field names of Anthropic or OpenAI; null if there is none. */
function readUsage(usage: unknown): UsageAmounts | null {
  if (!isJsonObject(usage)) return null;
  const inputTokens = count(usage.input ?? usage.inputTokens ?? usage.prompt_tokens ?? usage.input_tokens);
  const outputTokens = count(usage.output ?? usage.outputTokens ?? usage.completion_tokens ?? usage.output_tokens);
  const cacheReadTokens = count(usage.cacheRead ?? usage.cache_read_input_tokens ?? usage.cache);
  const cacheWriteTokens = count(usage.cacheWrite ?? usage.cache_creation_input_tokens);
  const total = usage.totalTokens ?? usage.total ?? usage.total_tokens;
  return {
    inputTokens,
    outputTokens,
    cacheReadTokens,
    cacheWriteTokens,
    totalTokens: typeof total === 'number' ? count(total) : inputTokens + outputTokens + cacheReadTokens + cacheWriteTokens,
    costNanoUsd: nanoUsd(readCost(usage.cost)),
  };
}

function readCost(cost: unknown): number {
  if (typeof cost === 'number') return cost;
  if (!isJsonObject(cost)) return 0;
  if (typeof cost.total === 'number') return cost.total;
  return [cost.input, cost.output, cost.cacheRead, cost.cacheWrite].reduce<number>(
    (sum, part) => sum + (typeof part === 'number' && part > 0 ? part : 0),
    0,
  );
}

/** A number of tokens; 0 for values that are not numbers or are too large for an exact integer. */
function count(value: unknown): bigint {
  const rounded = typeof value === 'number' ? Math.round(value) : 0;
  return Number.isSafeInteger(rounded) && rounded > 0 ? BigInt(rounded) : 0n;
}

function textOr<Fallback>(value: unknown, fallback: Fallback): string | Fallback {
  return typeof value === 'string' ? value : fallback;
}

function omit(source: JsonObject, placed: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(source).filter(([name]) => !placed.has(name)));
}

function removeFields(target: Record<string, unknown>, names: ReadonlySet<string>): void {
  for (const name of names) delete target[name];
}
