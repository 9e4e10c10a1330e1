/** Session keys: channels and tools address a session by its key. This file defines the canonical form of keys, and what a key says about its session. */

/** The kind of a session, derived from its key. The values are those of the database's enum. */
export type SessionKind = 'MAIN' | 'DIRECT' | 'GROUP' | 'GLOBAL' | 'UNKNOWN' | 'CRON' | 'SUBAGENT' | 'HOOK' | 'NODE' | 'OTHER';

/** The configured names that the rules of this file use. */
export interface KeyRules {
  /** The agent of keys that name none, normalised. */
  readonly defaultAgent: string;
  /** The last part of an agent's main key. `main` is always an alias of it. */
  readonly mainKey: string;
}

/** A canonical key and the agent that it names. */
export interface CanonicalKey {
  readonly key: string;
  /** Null for `global` and `unknown`, which name no agent. */
  readonly agentId: string | null;
}

/** Maximum length of a session key in canonical form, in characters. */
export const MAX_KEY_LENGTH = 512;

const VALID_AGENT_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** The agent id, then the rest, which has at least one character that is not a colon. */
const AGENT_KEY = /^agent:+([^:]+):(.*[^:].*)$/s;

/**
 * The stored form of an agent's id: lower case, at most 64 characters of `a-z 0-9 _ -`. `main` if no valid character is left.
 */
export function normalizeAgentId(text: string): string {
  const lower = text.trim().toLowerCase();
  if (VALID_AGENT_ID.test(lower)) return lower;
  const cut = lower
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
  // The cut can end in a dash, which another call would remove unless a letter or digit comes first.
  return (VALID_AGENT_ID.test(cut) ? cut : cut.replace(/-+$/, '')) || 'main';
}

/** The stored form of an agent's id for a lookup. Null if the text contains no letter or digit, so no agent can match. */
export function findableAgentId(text: string): string | null {
  return /[a-z0-9]/i.test(text) ? normalizeAgentId(text) : null;
}

/**
 * The form in which a key is stored and looked up. A canonical key stays unchanged.
 * Aliases of a main key become the main key, agent ids are normalised, and a key without an agent gets the owner's prefix. `global` and
 * `unknown` stay as they are. So does a key that starts with `agent:` but has no agent and rest; it belongs to the owner. An empty key
 * stays empty: reject it before.
 * @param raw the key as a caller or a store wrote it; surrounding white space is ignored
 * @param owner the agent of a key that names none; default: the default agent
 */
export function canonicalKey(raw: string, rules: KeyRules, owner: string = rules.defaultAgent): CanonicalKey {
  const text = raw.trim();
  if (text === 'global' || text === 'unknown') return { key: text, agentId: null };
  const parsed = AGENT_KEY.exec(text);
  const agentId = normalizeAgentId(parsed?.[1] ?? owner);
  if (parsed === null && (text === '' || text.startsWith('agent:'))) return { key: text, agentId };
  const rest = parsed?.[2] ?? text;
  return { key: `agent:${agentId}:${rest === 'main' ? rules.mainKey : rest}`, agentId };
}

/**
 * True if the text is a key with at least one character that is not a colon and, if it starts with `agent:`, with an agent and a rest. API
 * callers must send such keys. Imports also keep others, such as `agent:main` and `agent:::`, because sources have them.
 */
export function isWellFormedKey(raw: string): boolean {
  const text = raw.trim();
  return text.startsWith('agent:') ? AGENT_KEY.test(text) : /[^:]/.test(text);
}

/**
 * The kind of a session.
 * @param key in canonical form; null for a session without a key, whose kind is always OTHER
 * @param chatType `direct`, `group` or `channel`, from the session's origin; null if unknown
 */
export function sessionKind(key: string | null, chatType: string | null, rules: KeyRules): SessionKind {
  if (key === null) return 'OTHER';
  if (key === 'global') return 'GLOBAL';
  if (key === 'unknown') return 'UNKNOWN';
  const rest = AGENT_KEY.exec(key)?.[2] ?? key;
  if (/^subagent:/i.test(rest)) return 'SUBAGENT';
  if (rest.startsWith('cron:')) return 'CRON';
  if (rest.startsWith('hook:')) return 'HOOK';
  if (/^node[-:]/.test(rest)) return 'NODE';
  if (chatType === 'group' || chatType === 'channel' || /:(group|channel):/.test(key)) return 'GROUP';
  return rest === rules.mainKey ? 'MAIN' : 'DIRECT';
}

/** True for the main key of the default agent, whose session cannot be deleted. */
export function isMainSessionKey(key: string | null, rules: KeyRules): boolean {
  return key === `agent:${rules.defaultAgent}:${rules.mainKey}`;
}
