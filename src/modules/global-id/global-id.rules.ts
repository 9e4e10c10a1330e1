/** The types that `node` finds. */
export type NodeType = 'Session' | 'Message' | 'Agent' | 'ApiKey';

/** A message as its global id names it. */
export interface MessageIdParts {
  /** Null where the bare UUID was given, which does not say. */
  readonly sessionId: string | null;
  readonly messageId: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The opaque Relay id of a session. */
export function sessionGlobalId(sessionId: string): string {
  return encode('Session', sessionId);
}

/** The opaque Relay id of a message; it carries the session's id, under which messages are stored. */
export function messageGlobalId(sessionId: string, messageId: string): string {
  return encode('Message', `${sessionId}:${messageId}`);
}

/** The opaque Relay id of an agent. */
export function agentGlobalId(agentId: string): string {
  return Buffer.from(`Agent:${agentId}`).toString('base64');
}

/** The opaque Relay id of an API key. */
export function apiKeyGlobalId(apiKeyId: string): string {
  return encode('ApiKey', apiKeyId);
}

function encode(type: NodeType, uuids: string): string {
  // A page has hundreds of them, all ASCII: btoa takes a third of the time of a Buffer.
  return btoa(`${type}:${uuids}`);
}

/** The type and the rest of a global id; null where it is none of ours. */
export function parseGlobalId(id: string): { readonly type: NodeType; readonly rest: string } | null {
  if (!BASE64.test(id)) return null;
  const match = /^(Session|Message|Agent|ApiKey):(.+)$/s.exec(Buffer.from(id, 'base64').toString('utf8'));
  return match === null ? null : { type: match[1] as NodeType, rest: match[2] ?? '' };
}

/** The UUID in canonical form, null where the text is none. */
export function parseUuid(text: string): string | null {
  return UUID.test(text) ? text.toLowerCase() : null;
}

/** The session's UUID of a global id or a bare UUID; null where it is malformed or of another type. */
export function parseSessionId(id: string): string | null {
  const bare = parseUuid(id);
  if (bare !== null) return bare;
  const parsed = parseGlobalId(id);
  return parsed?.type === 'Session' ? parseUuid(parsed.rest) : null;
}

/** The key's UUID of a global id or a bare UUID; null where it is malformed or of another type. */
export function parseApiKeyId(id: string): string | null {
  const bare = parseUuid(id);
  if (bare !== null) return bare;
  const parsed = parseGlobalId(id);
  return parsed?.type === 'ApiKey' ? parseUuid(parsed.rest) : null;
}

/** What a message's global id or bare UUID names; null where it is malformed or of another type. */
export function parseMessageId(id: string): MessageIdParts | null {
  const bare = parseUuid(id);
  if (bare !== null) return { sessionId: null, messageId: bare };
  const parsed = parseGlobalId(id);
  if (parsed?.type !== 'Message') return null;
  const [sessionPart = '', messagePart = ''] = parsed.rest.split(':');
  const sessionId = parseUuid(sessionPart);
  const messageId = parseUuid(messagePart);
  return sessionId === null || messageId === null ? null : { sessionId, messageId };
}
