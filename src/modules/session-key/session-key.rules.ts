/** Session keys: the text by which channels and tools address a session, its canonical form and what it says of the session. */

/** What a session is, by its key; the values of the database's enum. */
export type SessionKind = 'MAIN' | 'DIRECT' | 'GROUP' | 'GLOBAL' | 'UNKNOWN' | 'CRON' | 'SUBAGENT' | 'HOOK' | 'NODE' | 'OTHER';

/** The two names every rule of this file depends on, as configured. */
export interface KeyRules {
  /** The agent a bare key belongs to, normalised. */
  readonly defaultAgent: string;
  /** The last part of an agent's main key; `main` is always an alias of it. */
  readonly mainKey: string;
}

/** A canonical key and the agent it names. */
export interface CanonicalKey {
  readonly key: string;
  /** Null for `global` and `unknown`, which belong to no agent. */
  readonly agentId: string | null;
}

/** Characters a session key may have, in its canonical form. */
export const MAX_KEY_LENGTH = 512;

const VALID_AGENT_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** The agent id, then the rest, which holds at least one character that is not a colon. */
const AGENT_KEY = /^agent:+([^:]+):(.*[^:].*)$/s;

/**
 * The stored form of an agent's id: lower case, at most 64 of `a-z 0-9 _ -`; `main` where nothing of the text is left.
 */
export function normalizeAgentId(text: string): string {
  const lower = text.trim().toLowerCase();
  if (VALID_AGENT_ID.test(lower)) return lower;
  const cut = lower
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
  // The cut can end in a dash, which is only stable behind a letter or digit.
  return (VALID_AGENT_ID.test(cut) ? cut : cut.replace(/-+$/, '')) || 'main';
}

/** The stored form of an agent's id that is looked for; null where the text has nothing that an id could be made of. */
export function findableAgentId(text: string): string | null {
  return /[a-z0-9]/i.test(text) ? normalizeAgentId(text) : null;
}

/**
 * The form under which a key is stored and found; canonical keys come back unchanged.
 * Aliases of a main key become that key, agent ids are normalised, a bare key gets its owner in front, `global` and `unknown` stand.
 * A key that begins with `agent:` but names no agent and rest stays as it is, with its owner. An empty key stays empty: refuse it before.
 * @param raw as a caller or a store wrote it; surrounding white space is ignored
 * @param owner the agent a bare key belongs to; the default agent where it is left out
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
 * The kind of a session.
 * @param key canonical, or null for a session without one, which is always OTHER
 * @param chatType `direct`, `group` or `channel` as the origin says, or null
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

/** True for the main key of the default agent: the one session that is never deleted. */
export function isMainSessionKey(key: string | null, rules: KeyRules): boolean {
  return key === `agent:${rules.defaultAgent}:${rules.mainKey}`;
}
