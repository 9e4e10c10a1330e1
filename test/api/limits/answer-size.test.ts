import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Client } from 'pg';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type GraphQLResponseBody, post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { TEST_WAIT_MS, WAIT_OPTIONS } from '../../support/wait-time.ts';

const MiB = 1024 * 1024;
const MAX_BYTES = 8 * MiB;
const MESSAGES = 100;

let app: TestApp;
/** Of 100 messages of 100,000 characters. */
let long: string;
/** Of one message, which an import may bring: 7 MiB. */
let large: string;
/** Of one message of 1,500,000 characters, each of which takes six in JSON. */
let escaped: string;

beforeAll(async () => {
  app = await startTestApp({ env: { MAX_RESPONSE_SIZE: '8MiB' } });
  long = await newSession(MESSAGES, "repeat('x', 100000)");
  large = await newSession(1, `repeat('y', ${7 * MiB})`);
  escaped = await newSession(1, "repeat(E'\\x01', 1500000)");
});

/** A session of so many messages, whose content is what the SQL gives: more than the API takes. */
async function newSession(count: number, contentSql: string): Promise<string> {
  const create = 'mutation { createSession(input: {}) { session { sessionId } } }';
  const { sessionId } = (await app.gql<{ createSession: { session: { sessionId: string } } }>(create)).expectOk().createSession.session;
  const messages = Array.from({ length: count }, (_, i) => ({ role: 'ASSISTANT', content: `message ${i}` }));
  const append = 'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { messages { id } } }';
  (await app.gql(append, { input: { sessionId, messages } })).expectOk();
  const client = new Client({ connectionString: app.databaseUrl });
  await client.connect();
  await client.query(`update aria_engine.chat_messages set content = ${contentSql} where session_id = $1`, [sessionId]);
  await client.end();
  return sessionId;
}

const PAGE = 'query ($id: ID!, $n: Int) { session(id: $id) { messages(first: $n) { nodes { content } } } }';

const times = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');

interface Question {
  readonly query: string;
  readonly variables: () => Record<string, unknown>;
}

const TOO_LARGE: Readonly<Record<string, Question>> = {
  'a page of large messages': { query: PAGE, variables: () => ({ id: long, n: MESSAGES }) },
  'many pages, each of which would do': {
    query: `query ($id: ID!) { ${times(20, i => `a${i}: session(id: $id) { messages(first: ${20 + i}) { nodes { content } } }`)} }`,
    variables: () => ({ id: long }),
  },
  'one text under many names': {
    query: `query ($id: ID!) { session(id: $id) { messages(first: 1) { nodes { ${times(90, i => `a${i}: content`)} } } } }`,
    variables: () => ({ id: long }),
  },
  'one name of 400,000 characters in many objects': {
    query: `query ($id: ID!) { session(id: $id) { messages(first: 30) { nodes { ${'a'.repeat(400_000)}: position } } } }`,
    variables: () => ({ id: long }),
  },
  'text that JSON makes six times as long': { query: PAGE, variables: () => ({ id: escaped, n: 1 }) },
};

async function expectHonestAnswer(): Promise<void> {
  const { session } = (await app.gql<{ session: { messages: { nodes: { content: string }[] } } }>(PAGE, { id: long, n: 10 })).expectOk();
  expect(session.messages.nodes.map(({ content }) => content.length)).toEqual(Array(10).fill(100_000));
}

/** The first error of an answer, which may hold what could be read. */
function refusalIn(answer: GraphQLResponseBody): unknown {
  expect(Buffer.byteLength(JSON.stringify(answer))).toBeLessThanOrEqual(MAX_BYTES);
  return answer.errors?.[0]?.extensions;
}

const REFUSAL = { code: 'QUERY_TOO_COMPLEX', details: { maxBytes: MAX_BYTES }, retryable: false };

describe.each(Object.entries(TOO_LARGE))('%s', (_name, { query, variables }) => {
  it('is refused over HTTP', async () => {
    const { body } = await post(app.url, { query, variables: variables() });
    expect(refusalIn(body)).toMatchObject(REFUSAL);
    await expectHonestAnswer();
  });

  it('is refused over server-sent events', async () => {
    const response = await fetch(app.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query, variables: variables() }),
    });
    const [, data = ''] = /^data: (.*)$/m.exec(await response.text()) ?? [];
    expect(refusalIn(JSON.parse(data))).toMatchObject(REFUSAL);
    await expectHonestAnswer();
  });

  it('is refused over WebSocket', async () => {
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query, variables: variables() } });
    const { payload } = await socket.next();
    expect(refusalIn(payload as GraphQLResponseBody)).toMatchObject(REFUSAL);
    socket.close();
    await expectHonestAnswer();
  });
});

it('one message that nearly fills an answer can be read again and again', async () => {
  for (let i = 0; i < 10; i += 1) {
    const { session } = (await app.gql<{ session: { messages: { nodes: { content: string }[] } } }>(PAGE, { id: large, n: 1 })).expectOk();
    expect(session.messages.nodes[0]?.content.length).toBe(7 * MiB);
  }
});

it('a subscription whose answer to an event is too large says so, and goes on', async () => {
  const id = await newSession(1, "'first'");
  const query = `subscription ($id: ID!) { messageAdded(sessionId: $id) { ${times(90, i => `a${i}: message { content }`)} } }`;
  const stream = await app.subscribe<{ messageAdded: Record<string, { content: string }> }>(query, { id });
  const append = 'mutation ($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }';
  for (const content of ['z'.repeat(99_999), 'small']) {
    (await app.gql(append, { input: { sessionId: id, message: { role: 'USER', content } } })).expectOk();
  }
  expect((await stream.nextResult())?.errors?.[0]?.extensions).toMatchObject(REFUSAL);
  expect((await stream.next()).messageAdded.a0).toEqual({ content: 'small' });
  await stream.close();
});

describe('clients that do not read', () => {
  async function ask(): Promise<Socket> {
    const { hostname, port } = new URL(app.url);
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    socket.pause();
    const body = JSON.stringify({ query: PAGE, variables: { id: large, n: 1 } });
    socket.write(
      `POST /graphql HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    return socket;
  }

  it('keep others from large answers, for a while, not from all', { timeout: 5 * TEST_WAIT_MS }, async () => {
    const sockets: Socket[] = [];
    const codeOf = async () => (await post(app.url, { query: PAGE, variables: { id: large, n: 1 } })).body.errors?.[0]?.extensions.code;
    // Some of each answer leaves the server, into the buffers of the system.
    await vi.waitUntil(async () => {
      sockets.push(await ask());
      return (await codeOf()) === 'SERVICE_UNAVAILABLE';
    }, WAIT_OPTIONS);
    await expectHonestAnswerOfOne();
    for (const socket of sockets) socket.destroy();
    await vi.waitUntil(async () => (await codeOf()) === undefined, WAIT_OPTIONS);
  });

  async function expectHonestAnswerOfOne(): Promise<void> {
    (await app.gql(PAGE, { id: long, n: 1 })).expectOk();
  }
});
