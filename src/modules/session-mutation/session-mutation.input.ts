import { badInput } from '../../errors.ts';
import type { KeyedInput } from '../idempotency/idempotency.input.ts';
import { MAX_NAME_LENGTH, type SessionStatus } from '../session/session.rules.ts';
import { canonicalKey, isWellFormedKey, type KeyRules, MAX_KEY_LENGTH, normalizeAgentId } from '../session-key/session-key.rules.ts';
import { assertStorable, readName, readText } from '../text/text.input.ts';
import type { DescriptionInput } from './session-description.input.ts';

type Maybe<Value> = Value | null | undefined;

/** The input fields that createSession and updateSession have in common. */
interface SessionInput extends DescriptionInput, KeyedInput {
  readonly parentId?: Maybe<string>;
  readonly metadata?: unknown;
}

export interface CreateSessionInput extends SessionInput {
  readonly agentId?: Maybe<string>;
  readonly type?: Maybe<string>;
  readonly key?: Maybe<string>;
  readonly ifExists?: Maybe<'ERROR' | 'RETURN'>;
  readonly status?: Maybe<SessionStatus>;
  readonly expectedDurationMs?: Maybe<number>;
  readonly startedAt?: Maybe<Date>;
}

export interface UpdateSessionInput extends SessionInput {
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

const MAX_REASON_LENGTH = 2_000;

/** The agent and the canonical key of a session. */
export interface SessionIdentity {
  readonly agentId: string;
  readonly key: string | null;
}

/**
 * The agent and the canonical key of a new session.
 * @param fallbackAgent the agent if neither the key nor the input names one
 * @throws DomainError BAD_USER_INPUT if key and input name different agents, or the key is malformed or too long
 */
export function readIdentity(input: Pick<CreateSessionInput, 'agentId' | 'key'>, rules: KeyRules, fallbackAgent: string): SessionIdentity {
  const named = input.agentId == null ? null : normalizeAgentId(readName(input.agentId, 'input.agentId', MAX_NAME_LENGTH));
  if (input.key == null) return { agentId: named ?? fallbackAgent, key: null };
  const raw = readName(input.key, 'input.key', MAX_KEY_LENGTH);
  if (!isWellFormedKey(raw)) {
    throw badInput('input.key', `must be agent:<agent>:<rest>, or a text of your own with other characters than colons; got "${raw}"`);
  }
  const { key, agentId: keyAgent } = canonicalKey(raw, rules, named ?? fallbackAgent);
  readText(key, 'input.key', MAX_KEY_LENGTH);
  if (named !== null && keyAgent !== null && keyAgent !== named) {
    throw badInput('input.agentId', `is ${named}, but the key ${key} belongs to ${keyAgent}`);
  }
  return { agentId: keyAgent ?? named ?? fallbackAgent, key };
}

/** The type of a new session, in lower case. Default: chat. */
export function readType(type: Maybe<string>): string {
  return type == null ? 'chat' : readName(type.toLowerCase(), 'input.type', MAX_NAME_LENGTH);
}

/** A reason without surrounding white space. Null if it is blank or absent. */
export function readReason(reason: Maybe<string>, field: string): string | null {
  const text = reason?.trim() ?? '';
  return text === '' ? null : readText(text, field, MAX_REASON_LENGTH);
}

/** Fields of an update that null cannot clear. */
const NEVER_NULL = ['status', 'priority', 'archived', 'pinned', 'metadataWrite', 'parentId'] as const;

/** @throws DomainError BAD_USER_INPUT if a field is null that cannot be cleared, or holds a value that cannot be stored */
export function assertUpdate(input: UpdateSessionInput): void {
  const { id: _id, parentId: _parentId, ...storable } = input;
  assertStorable(storable, 'input');
  const cleared = NEVER_NULL.find(field => input[field] === null);
  if (cleared !== undefined) throw badInput(`input.${cleared}`, 'must not be null; leave it out to keep it');
}
