import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { storedSession, storeSessions } from '../session-filter/stored-session.ts';

const A = '0197c000-0000-7000-8000-00000000000a';
const B = '0197c000-0000-7000-8000-00000000000b';
const TRASHED = '0197c000-0000-7000-8000-00000000000c';
const UNKNOWN = '0197c000-0000-7000-8000-0000000000ff';

const globalId = (text: string) => Buffer.from(text).toString('base64');

let app: TestApp;
/** The bare UUIDs of the messages of session A. */
let messages: readonly string[];

beforeAll(async () => {
  app = await startTestApp();
  await storeSessions(app.databaseUrl, [
    storedSession({ id: A, agentId: 'coder', title: 'a', tags: ['red'], messages: ['hello', 'world'] }),
    storedSession({ id: B, agentId: 'main', title: 'b', parentId: A, messages: ['other'] }),
    storedSession({ id: TRASHED, agentId: 'gone', title: 'trashed', deletedAt: new Date() }),
  ]);
  const data = (
    await app.gql<{ session: { messages: { nodes: { messageId: string }[] } } }>(
      `{ session(id: "${A}") { messages { nodes { messageId } } } }`,
    )
  ).expectOk();
  messages = data.session.messages.nodes.map(node => node.messageId);
});

const NODE = /* GraphQL */ `
  query Node($id: ID!) {
    node(id: $id) {
      __typename
      id
      ... on Session { sessionId title tags parent { title } deletedAt }
      ... on Message { messageId content position session { title } parent { content } }
      ... on Agent { agentId sessionCount }
    }
  }
`;

async function nodeOf(id: string): Promise<unknown> {
  return (await app.gql<{ node: unknown }>(NODE, { id })).expectOk().node;
}

describe('node', () => {
  it('returns a session, also one in the trash', async () => {
    const id = globalId(`Session:${B}`);
    expect(await nodeOf(id)).toEqual({
      __typename: 'Session',
      id,
      sessionId: B,
      title: 'b',
      tags: [],
      parent: { title: 'a' },
      deletedAt: null,
    });
    expect(await nodeOf(globalId(`Session:${TRASHED}`))).toMatchObject({ title: 'trashed', deletedAt: expect.any(String) });
  });

  it('returns a message', async () => {
    const id = globalId(`Message:${A}:${messages[1]}`);
    expect(await nodeOf(id)).toEqual({
      __typename: 'Message',
      id,
      messageId: messages[1],
      content: 'world',
      position: 2,
      session: { title: 'a' },
      parent: { content: 'hello' },
    });
  });

  it('returns an agent that has a listed session and null for one that has only trashed sessions', async () => {
    const id = globalId('Agent:coder');
    expect(await nodeOf(id)).toEqual({ __typename: 'Agent', id, agentId: 'coder', sessionCount: 1 });
    expect(await nodeOf(globalId('Agent:gone'))).toBeNull();
  });

  it('accepts the ids of sessions, agents and messages that other fields return', async () => {
    const data = (
      await app.gql<{ sessions: { nodes: { id: string; agent: { id: string }; lastMessage: { id: string } | null }[] } }>(
        '{ sessions { nodes { id agent { id } lastMessage { id } } } }',
      )
    ).expectOk();
    for (const { id, agent, lastMessage } of data.sessions.nodes) {
      for (const each of [id, agent.id, lastMessage?.id ?? '']) expect(await nodeOf(each)).toMatchObject({ id: each });
    }
  });

  it.each([
    ['an empty string', ''],
    ['text that is no id', 'nonsense'],
    ['a bare UUID', A],
    ['an unknown type', globalId(`User:${A}`)],
    ['a type in another case', globalId(`session:${A}`)],
    ['a type without an id', globalId('Session:')],
    ['a UUID without a type', globalId(A)],
    ['a session id that is no UUID', globalId('Session:1')],
    ['a session id with extra text', globalId(`Session:${A}:${A}`)],
    ['an unknown session', globalId(`Session:${UNKNOWN}`)],
    ['a message of an unknown session', globalId(`Message:${UNKNOWN}`)],
    ['an unknown message', globalId(`Message:${A}:${UNKNOWN}`)],
    ['an unknown agent', globalId('Agent:nobody')],
    ['an agent id with NUL', globalId('Agent:a\0b')],
    ['bytes that are not UTF-8', Buffer.from([0x53, 0xff, 0xfe, 0x3a, 0x80]).toString('base64')],
    [
      'an agent id of bytes that are not UTF-8',
      Buffer.concat([Buffer.from('Agent:'), Buffer.from([0xff, 0xed, 0xa0, 0x80])]).toString('base64'),
    ],
    ['an id with a line break', `${globalId(`Session:${A}`).slice(0, 8)}\n${globalId(`Session:${A}`).slice(8)}`],
    ['SQL', `';--${globalId(`Session:${A}`)}`],
  ])('returns null for %s', async (_, id) => {
    expect(await nodeOf(id)).toBeNull();
  });

  it('returns null for a message id with the id of another session', async () => {
    expect(await nodeOf(globalId(`Message:${B}:${messages[0]}`))).toBeNull();
  });
});

describe('nodes', () => {
  const NODES = 'query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Session { title } } }';

  it('returns the nodes in the order of the ids, repeats duplicates and returns null for unknown ids', async () => {
    const ids = [
      globalId(`Session:${B}`),
      'nonsense',
      globalId(`Message:${A}:${messages[0]}`),
      globalId(`Session:${A}`),
      globalId('Agent:main'),
      globalId(`Session:${B}`),
    ];
    const answer = await app.gql<{ nodes: ({ id: string } | null)[] }>(NODES, { ids });
    expect(answer.expectOk().nodes.map(node => node?.id ?? null)).toEqual(ids.with(1, 'null').map(id => (id === 'null' ? null : id)));
    expect(answer.sql).toHaveLength(3);
  });

  it('accepts 0 to 100 ids and returns PAGE_SIZE_TOO_LARGE for 101', async () => {
    expect((await app.gql(NODES, { ids: [] })).expectOk()).toEqual({ nodes: [] });
    const ids = Array.from({ length: 101 }, (_, index) => globalId(`Session:${UNKNOWN.slice(0, -3)}${String(index).padStart(3, '0')}`));
    const answer = await app.gql<{ nodes: unknown[] }>(NODES, { ids: ids.slice(1) });
    expect(answer.expectOk().nodes).toEqual(Array.from({ length: 100 }, () => null));
    expect(answer.sql).toHaveLength(1);
    expect((await app.gql(NODES, { ids })).expectError('PAGE_SIZE_TOO_LARGE').extensions.details).toEqual({
      field: 'ids',
      requested: 101,
      max: 100,
    });
  });
});

describe('session(id) and message(id)', () => {
  const SESSION = 'query($id: ID!) { session(id: $id) { title } }';
  const MESSAGE = 'query($id: ID!) { message(id: $id) { content } }';

  it('accept global ids and bare UUIDs in upper and lower case', async () => {
    for (const id of [A, A.toUpperCase(), globalId(`Session:${A}`), globalId(`Session:${A.toUpperCase()}`)]) {
      expect((await app.gql(SESSION, { id })).expectOk()).toEqual({ session: { title: 'a' } });
    }
    for (const id of [messages[0], messages[0]?.toUpperCase(), globalId(`Message:${A}:${messages[0]}`)]) {
      expect((await app.gql(MESSAGE, { id })).expectOk()).toEqual({ message: { content: 'hello' } });
    }
  });

  it('return null for ids that are unknown, malformed, of another type or of another session', async () => {
    for (const id of [UNKNOWN, '', 'x', '1', `${A}0`, `{${A}}`, globalId('Agent:main'), globalId(`Message:${A}:${messages[0]}`)]) {
      expect((await app.gql(SESSION, { id })).expectOk()).toEqual({ session: null });
    }
    for (const id of [
      UNKNOWN,
      A,
      'x',
      globalId(`Session:${A}`),
      globalId(`Message:${B}:${messages[0]}`),
      globalId(`Message:${messages[0]}`),
    ]) {
      expect((await app.gql(MESSAGE, { id })).expectOk()).toEqual({ message: null });
    }
  });
});
