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

/** Nothing of these names a session or a message. */
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
  it('gives the canonical form of any case', () => {
    expect(parseUuid(SESSION.toUpperCase())).toBe(SESSION);
    for (const text of [...NONSENSE, ...FOREIGN]) expect(parseUuid(text)).toBeNull();
  });
});

describe('a session’s id', () => {
  it('is taken global and bare', () => {
    expect(parseSessionId(sessionGlobalId(SESSION))).toBe(SESSION);
    expect(parseSessionId(SESSION.toUpperCase())).toBe(SESSION);
    expect(parseSessionId(encode(`Session:${SESSION.toUpperCase()}`))).toBe(SESSION);
  });

  it('is not a message’s, an agent’s or nonsense', () => {
    for (const id of [messageGlobalId(SESSION, MESSAGE), agentGlobalId('main'), ...NONSENSE, ...FOREIGN])
      expect(parseSessionId(id)).toBeNull();
  });
});

describe('a message’s id', () => {
  it('carries its session’s where it is global', () => {
    expect(parseMessageId(messageGlobalId(SESSION, MESSAGE))).toEqual({ sessionId: SESSION, messageId: MESSAGE });
    expect(parseMessageId(MESSAGE.toUpperCase())).toEqual({ sessionId: null, messageId: MESSAGE });
  });

  it('is not a session’s, an agent’s or nonsense', () => {
    const halves = [encode(`Message:${MESSAGE}`), encode(`Message:${SESSION}:1`), encode(`Message::${MESSAGE}`)];
    for (const id of [sessionGlobalId(SESSION), agentGlobalId('main'), ...halves, ...NONSENSE, ...FOREIGN])
      expect(parseMessageId(id)).toBeNull();
  });
});

describe('parseGlobalId', () => {
  it('gives the type and the key', () => {
    expect(parseGlobalId(sessionGlobalId(SESSION))).toEqual({ type: 'Session', key: SESSION });
    expect(parseGlobalId(messageGlobalId(SESSION, MESSAGE))).toEqual({ type: 'Message', key: `${SESSION}:${MESSAGE}` });
    expect(parseGlobalId(agentGlobalId('a:b'))).toEqual({ type: 'Agent', key: 'a:b' });
    for (const id of [encode(':1'), encode('Session:'), encode('a b:1'), '', SESSION, '%%%']) expect(parseGlobalId(id)).toBeNull();
  });
});
