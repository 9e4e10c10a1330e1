/**
 * Global ids: base64 of `<Type>:<key>`, the form of Relay's Node interface. Below the API, sessions, messages and API keys are named by
 * UUIDs and agents by their names.
 */

/** What the id of a message says. */
export interface MessageIdParts {
  /** UUID. Null if only the message's UUID was given. */
  readonly sessionId: string | null;
  /** UUID. */
  readonly messageId: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** The global id of a session. */
export function sessionGlobalId(sessionId: string): string {
  return encodeAscii('Session', sessionId);
}

/** The global id of a message. It contains the session's id, because messages are stored by session. */
export function messageGlobalId(sessionId: string, messageId: string): string {
  if (sessionId !== lastSessionId) {
    lastSessionId = sessionId;
    lastSessionPrefix = encodeAscii('Message', `${sessionId}:`);
  }
  return lastSessionPrefix + btoa(messageId);
}

/**
 * The messages of a page have the same session, whose part is encoded once. It has 45 bytes, a multiple of three, so that its base64 ends
 * where that of the message's id begins.
 */
let lastSessionId = '';
let lastSessionPrefix = '';

/** The global id of an agent. */
export function agentGlobalId(agentId: string): string {
  return Buffer.from(`Agent:${agentId}`).toString('base64');
}

/** The global id of an API key. */
export function apiKeyGlobalId(apiKeyId: string): string {
  return encodeAscii('ApiKey', apiKeyId);
}

function encodeAscii(type: string, key: string): string {
  // A page has hundreds of ids, and btoa takes a third of a Buffer's time. It accepts Latin-1 only.
  return btoa(`${type}:${key}`);
}

/** The type name and the key of a global id. Null if the text has another form. */
export function parseGlobalId(id: string): { readonly type: string; readonly key: string } | null {
  if (!BASE64.test(id)) return null;
  const [, type, key] = /^([A-Za-z]+):(.+)$/s.exec(Buffer.from(id, 'base64').toString('utf8')) ?? [];
  return type === undefined || key === undefined ? null : { type, key };
}

/** The UUID in lower case. Null if the text is not a UUID. */
export function parseUuid(text: string): string | null {
  return UUID.test(text) ? text.toLowerCase() : null;
}

/** The session's UUID from its global id or the UUID itself. Null if the text is malformed or names another type. */
export function parseSessionId(id: string): string | null {
  return parseUuid(id) ?? parseUuid(keyOf('Session', id) ?? '');
}

/** The API key's UUID from its global id or the UUID itself. Null if the text is malformed or names another type. */
export function parseApiKeyId(id: string): string | null {
  return parseUuid(id) ?? parseUuid(keyOf('ApiKey', id) ?? '');
}

/** The name of an agent from its global id. Null if the text is malformed or names another type. */
export function parseAgentId(id: string): string | null {
  return keyOf('Agent', id);
}

/** The UUIDs in a message's global id, or only the message's own if its UUID is given. Null if the text is malformed or names another type. */
export function parseMessageId(id: string): MessageIdParts | null {
  const uuid = parseUuid(id);
  if (uuid !== null) return { sessionId: null, messageId: uuid };
  const [sessionPart = '', messagePart = ''] = keyOf('Message', id)?.split(':') ?? [];
  const sessionId = parseUuid(sessionPart);
  const messageId = parseUuid(messagePart);
  return sessionId === null || messageId === null ? null : { sessionId, messageId };
}

function keyOf(type: string, id: string): string | null {
  const parsed = parseGlobalId(id);
  return parsed?.type === type ? parsed.key : null;
}
