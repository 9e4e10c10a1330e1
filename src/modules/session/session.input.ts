import { badInput, DomainError } from '../../errors.ts';
import type { KeyedInput } from '../idempotency/idempotency.input.ts';
import { canonicalKey, type KeyRules, MAX_KEY_LENGTH, normalizeAgentId } from '../session-key/session-key.rules.ts';
import { assertStorable, readName, readText } from '../text/text.input.ts';
import { characterCount } from '../text/text.rules.ts';
import {
  MAX_LABEL_LENGTH,
  MAX_NAME_LENGTH,
  MAX_TAG_LENGTH,
  MAX_TAGS,
  MAX_TITLE_LENGTH,
  type SessionPriority,
  type SessionStatus,
} from './session.rules.ts';

type Maybe<Value> = Value | null | undefined;

/** Where a session came from, as the contract's SessionOrigin. */
export type OriginInput = Readonly<
  Partial<Record<'label' | 'provider' | 'surface' | 'chatType' | 'from' | 'to' | 'accountId' | 'threadId', string | null>>
>;

/** Where answers go, as the contract's DeliveryContext. */
export type DeliveryInput = Readonly<Partial<Record<'channel' | 'to' | 'accountId' | 'threadId', string | null>>>;

/** What both creating and updating take of a session's descriptive fields. */
interface DescriptionInput {
  readonly title?: Maybe<string>;
  readonly label?: Maybe<string>;
  readonly displayName?: Maybe<string>;
  readonly subject?: Maybe<string>;
  readonly category?: Maybe<string>;
  readonly tags?: Maybe<readonly string[]>;
  readonly channel?: Maybe<string>;
  readonly nodeId?: Maybe<string>;
  readonly outputPath?: Maybe<string>;
  readonly priority?: Maybe<SessionPriority>;
  readonly task?: Maybe<string>;
  readonly prompt?: Maybe<string>;
  readonly tokenLimit?: Maybe<number>;
  readonly parentId?: Maybe<string>;
  readonly model?: Maybe<string>;
  readonly modelProvider?: Maybe<string>;
  readonly origin?: Maybe<OriginInput>;
  readonly delivery?: Maybe<DeliveryInput>;
  readonly metadata?: unknown;
}

export interface CreateSessionInput extends DescriptionInput, KeyedInput {
  readonly agentId?: Maybe<string>;
  readonly type?: Maybe<string>;
  readonly key?: Maybe<string>;
  readonly ifExists?: Maybe<'ERROR' | 'RETURN'>;
  readonly status?: Maybe<SessionStatus>;
  readonly expectedDurationMs?: Maybe<number>;
  readonly startedAt?: Maybe<Date>;
}

export interface UpdateSessionInput extends DescriptionInput, KeyedInput {
  readonly id: string;
  readonly expectedVersion?: Maybe<number>;
  readonly status?: Maybe<SessionStatus>;
  readonly statusReason?: Maybe<string>;
  readonly expectedCompletionAt?: Maybe<Date>;
  readonly endedAt?: Maybe<Date>;
  readonly metadataWrite?: Maybe<'MERGE' | 'REPLACE'>;
  readonly archived?: Maybe<boolean>;
  readonly pinned?: Maybe<boolean>;
}

export interface EndSessionInput extends KeyedInput {
  readonly id: string;
  readonly status?: Maybe<SessionStatus>;
  readonly reason?: Maybe<string>;
  readonly expectedVersion?: Maybe<number>;
}

export interface DeleteSessionInput {
  readonly id: string;
  readonly permanent?: Maybe<boolean>;
  readonly expectedVersion?: Maybe<number>;
}

export interface RestoreSessionInput {
  readonly id: string;
  readonly dropKey?: Maybe<boolean>;
  readonly dropLabel?: Maybe<boolean>;
}

const MAX_PATH_LENGTH = 4_096;
const MAX_TASK_LENGTH = 10_000;
const MAX_PROMPT_LENGTH = 1_000_000;
const MAX_REASON_LENGTH = 2_000;
const MAX_CONTEXT_FIELD_LENGTH = 1_000;

/** The descriptive fields by column, checked; a column that was left out is absent, one that is cleared is null. */
export interface SessionColumns {
  readonly given_title?: string | null;
  readonly label?: string | null;
  readonly display_name?: string | null;
  readonly subject?: string | null;
  readonly category?: string | null;
  readonly tags?: readonly string[];
  readonly channel?: string | null;
  readonly node_id?: string | null;
  readonly output_path?: string | null;
  readonly priority?: SessionPriority;
  readonly task?: string | null;
  readonly prompt?: string | null;
  readonly token_limit?: number | null;
  readonly model?: string | null;
  readonly model_provider?: string | null;
  readonly origin?: OriginInput | null;
  readonly delivery?: DeliveryInput | null;
}

/**
 * Checks the descriptive fields of an input that was found storable.
 * @throws DomainError BAD_USER_INPUT, TITLE_TOO_LONG, INVALID_TOKEN_LIMIT
 */
export function readDescription(input: DescriptionInput, limits: { readonly maxTokenLimit: number }): SessionColumns {
  const name = (field: keyof DescriptionInput & string, maxLength = MAX_NAME_LENGTH) => {
    const value = input[field];
    return typeof value === 'string' ? readName(value, `input.${field}`, maxLength) : (value as null | undefined);
  };
  const text = (field: keyof DescriptionInput & string, maxLength: number) => {
    const value = input[field];
    return typeof value === 'string' ? readText(value, `input.${field}`, maxLength) : (value as null | undefined);
  };
  return given({
    given_title: typeof input.title === 'string' ? readTitle(input.title) : input.title,
    label: name('label', MAX_LABEL_LENGTH),
    display_name: name('displayName'),
    subject: name('subject'),
    category: name('category'),
    tags: input.tags === null ? [] : input.tags === undefined ? undefined : readTags(input.tags),
    channel: name('channel'),
    node_id: name('nodeId'),
    output_path: name('outputPath', MAX_PATH_LENGTH),
    priority: input.priority ?? undefined,
    task: text('task', MAX_TASK_LENGTH),
    prompt: text('prompt', MAX_PROMPT_LENGTH),
    token_limit: typeof input.tokenLimit === 'number' ? readTokenLimit(input.tokenLimit, limits.maxTokenLimit) : input.tokenLimit,
    model: name('model'),
    model_provider: name('modelProvider'),
    origin: input.origin == null ? input.origin : readContext(input.origin, 'origin'),
    delivery: input.delivery == null ? input.delivery : readContext(input.delivery, 'delivery'),
  });
}

function given<Fields extends object>(fields: Fields): { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Fields]?: Exclude<Fields[Key], undefined>;
  };
}

function readTitle(text: string): string {
  const title = text.trim();
  if (title === '') throw badInput('input.title', 'must not be blank; null takes the title back');
  if (characterCount(title) > MAX_TITLE_LENGTH) {
    throw new DomainError('TITLE_TOO_LONG', `The title has more than ${MAX_TITLE_LENGTH} characters.`, {
      field: 'input.title',
      maxLength: MAX_TITLE_LENGTH,
      length: characterCount(title),
    });
  }
  return title;
}

function readTags(tags: readonly string[]): readonly string[] {
  const read = [...new Set(tags.map((tag, index) => readName(tag, `input.tags.${index}`, MAX_TAG_LENGTH)))];
  if (read.length > MAX_TAGS) throw badInput('input.tags', `must not have more than ${MAX_TAGS} tags`);
  return read;
}

function readTokenLimit(limit: number, max: number): number {
  if (limit >= 1 && limit <= max) return limit;
  throw new DomainError('INVALID_TOKEN_LIMIT', `The token limit must be from 1 to ${max}.`, { field: 'input.tokenLimit', max });
}

function readContext<Context extends OriginInput | DeliveryInput>(context: Context, field: string): Context {
  const entries = Object.entries(context).filter(([, value]) => value != null);
  for (const [name, value] of entries) readText(String(value), `input.${field}.${name}`, MAX_CONTEXT_FIELD_LENGTH);
  return Object.fromEntries(entries) as Context;
}

/** Which agent a new session belongs to, and its canonical key. */
export interface SessionIdentity {
  readonly agentId: string;
  readonly key: string | null;
}

/**
 * The agent and the canonical key of a new session.
 * @param fallbackAgent the agent where neither key nor input names one
 * @throws DomainError BAD_USER_INPUT where the two disagree or the key is too long
 */
export function readIdentity(input: Pick<CreateSessionInput, 'agentId' | 'key'>, rules: KeyRules, fallbackAgent: string): SessionIdentity {
  const named = input.agentId == null ? null : normalizeAgentId(readName(input.agentId, 'input.agentId', MAX_NAME_LENGTH));
  if (input.key == null) return { agentId: named ?? fallbackAgent, key: null };
  const { key, agentId: keyAgent } = canonicalKey(readName(input.key, 'input.key', MAX_KEY_LENGTH), rules, named ?? fallbackAgent);
  readText(key, 'input.key', MAX_KEY_LENGTH);
  if (named !== null && keyAgent !== null && keyAgent !== named) {
    throw badInput('input.agentId', `is ${named}, but the key ${key} belongs to ${keyAgent}`);
  }
  return { agentId: keyAgent ?? named ?? fallbackAgent, key };
}

/** A session's type: lower case, an open set. */
export function readType(type: Maybe<string>): string {
  return type == null ? 'chat' : readName(type.toLowerCase(), 'input.type', MAX_NAME_LENGTH);
}

/** A reason, null where it is blank or left out. */
export function readReason(reason: Maybe<string>, field: string): string | null {
  const text = reason?.trim() ?? '';
  return text === '' ? null : readText(text, field, MAX_REASON_LENGTH);
}

const NEVER_NULL = ['status', 'priority', 'archived', 'pinned', 'metadataWrite', 'parentId'] as const;

/** @throws DomainError BAD_USER_INPUT where an update clears what cannot be cleared, or holds what cannot be stored */
export function assertUpdate(input: UpdateSessionInput): void {
  const { id: _id, parentId: _parentId, ...storable } = input;
  assertStorable(storable, 'input');
  const cleared = NEVER_NULL.find(field => input[field] === null);
  if (cleared !== undefined) throw badInput(`input.${cleared}`, 'must not be null; leave it out to keep it');
}
