import { describe, expect, it } from 'vitest';
import {
  agentGlobalId,
  messageGlobalId,
  parseGlobalId,
  parseMessageId,
  parseSessionId,
  parseUuid,
  sessionGlobalId,
} from '../../src/global-id.ts';

const SESSION = '01a1fbc9-f945-74d5-9363-09f02943a67b';
const MESSAGE = '01a1fbd0-016f-771c-b365-71594c14028d';
const encode = (text: string) => Buffer.from(text).toString('base64');

/** Texts that are neither a UUID nor a global id. */
const NONSENSE = ['', 'nonsense', '%%%', encode('Session'), encode('Session:'), encode('Session:1'), encode(`session:${SESSION}`)];
const FOREIGN = [
  encode(`Log:${SESSION}`),
  encode(`${SESSION}`),
  `${SESSION} `,
  SESSION.replaceAll('-', ''),
  `{${SESSION}}`,
  'a\0',
  '\ud800',
  '==',
];

describe('parseUuid', () => {
  it('returns the UUID in lower case, and null for any other text', () => {
    expect(parseUuid(SESSION.toUpperCase())).toBe(SESSION);
    for (const text of [...NONSENSE, ...FOREIGN]) expect(parseUuid(text)).toBeNull();
  });
});

describe('parseSessionId', () => {
  it('accepts a global id or a bare UUID', () => {
    expect(parseSessionId(sessionGlobalId(SESSION))).toBe(SESSION);
    expect(parseSessionId(SESSION.toUpperCase())).toBe(SESSION);
    expect(parseSessionId(encode(`Session:${SESSION.toUpperCase()}`))).toBe(SESSION);
  });

  it('returns null for the id of a message or an agent, and for any other text', () => {
    for (const id of [messageGlobalId(SESSION, MESSAGE), agentGlobalId('main'), ...NONSENSE, ...FOREIGN])
      expect(parseSessionId(id)).toBeNull();
  });
});

describe('parseMessageId', () => {
  it('returns the session id of a global id, and null as the session id of a bare UUID', () => {
    expect(parseMessageId(messageGlobalId(SESSION, MESSAGE))).toEqual({ sessionId: SESSION, messageId: MESSAGE });
    expect(parseMessageId(MESSAGE.toUpperCase())).toEqual({ sessionId: null, messageId: MESSAGE });
  });

  it('returns null for the id of a session or an agent, and for any other text', () => {
    const incomplete = [encode(`Message:${MESSAGE}`), encode(`Message:${SESSION}:1`), encode(`Message::${MESSAGE}`)];
    for (const id of [sessionGlobalId(SESSION), agentGlobalId('main'), ...incomplete, ...NONSENSE, ...FOREIGN])
      expect(parseMessageId(id)).toBeNull();
  });
});

describe('parseGlobalId', () => {
  it('returns the type and the key, and null for a malformed id', () => {
    expect(parseGlobalId(sessionGlobalId(SESSION))).toEqual({ type: 'Session', key: SESSION });
    expect(parseGlobalId(messageGlobalId(SESSION, MESSAGE))).toEqual({ type: 'Message', key: `${SESSION}:${MESSAGE}` });
    expect(parseGlobalId(agentGlobalId('a:b'))).toEqual({ type: 'Agent', key: 'a:b' });
    for (const id of [encode(':1'), encode('Session:'), encode('a b:1'), '', SESSION, '%%%']) expect(parseGlobalId(id)).toBeNull();
  });
});
