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
/** The id of a session with 100 messages of 100,000 characters. */
let long: string;
/** The id of a session with one message of 7 MiB. Only an import can store such a message. */
let large: string;
/** The id of a session with one message of 1,500,000 control characters. JSON writes each with six characters. */
let escaped: string;

beforeAll(async () => {
  app = await startTestApp({ env: { MAX_RESPONSE_SIZE: '8MiB' } });
  long = await createSessionWithMessages(MESSAGES, "repeat('x', 100000)");
  large = await createSessionWithMessages(1, `repeat('y', ${7 * MiB})`);
  escaped = await createSessionWithMessages(1, "repeat(E'\\x01', 1500000)");
});

/** Creates a session with `count` messages, and sets their content with SQL because the API rejects messages of this size. */
async function createSessionWithMessages(count: number, contentSql: string): Promise<string> {
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

const repeat = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');

interface LargeQuery {
  readonly query: string;
  readonly variables: () => Record<string, unknown>;
}

const TOO_LARGE: Readonly<Record<string, LargeQuery>> = {
  'a page of large messages': { query: PAGE, variables: () => ({ id: long, n: MESSAGES }) },
  'many pages that are small enough on their own': {
    query: `query ($id: ID!) { ${repeat(20, i => `a${i}: session(id: $id) { messages(first: ${20 + i}) { nodes { content } } }`)} }`,
    variables: () => ({ id: long }),
  },
  'one text under many aliases': {
    query: `query ($id: ID!) { session(id: $id) { messages(first: 1) { nodes { ${repeat(90, i => `a${i}: content`)} } } } }`,
    variables: () => ({ id: long }),
  },
  'one alias of 400,000 characters in many objects': {
    query: `query ($id: ID!) { session(id: $id) { messages(first: 30) { nodes { ${'a'.repeat(400_000)}: position } } } }`,
    variables: () => ({ id: long }),
  },
  'text that JSON escapes to six times its length': { query: PAGE, variables: () => ({ id: escaped, n: 1 }) },
};

async function expectSmallerQueryToSucceed(): Promise<void> {
  const { session } = (await app.gql<{ session: { messages: { nodes: { content: string }[] } } }>(PAGE, { id: long, n: 10 })).expectOk();
  expect(session.messages.nodes.map(({ content }) => content.length)).toEqual(Array(10).fill(100_000));
}

/** Checks that the response itself is within the limit and returns the extensions of its first error. */
function errorExtensionsOf(body: GraphQLResponseBody): unknown {
  expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThanOrEqual(MAX_BYTES);
  return body.errors?.[0]?.extensions;
}

const EXPECTED_ERROR = { code: 'QUERY_TOO_COMPLEX', details: { maxBytes: MAX_BYTES }, retryable: false };

describe.each(Object.entries(TOO_LARGE))('a response that is too large because of %s', (_name, { query, variables }) => {
  it('returns QUERY_TOO_COMPLEX over HTTP', async () => {
    const { body } = await post(app.url, { query, variables: variables() });
    expect(errorExtensionsOf(body)).toMatchObject(EXPECTED_ERROR);
    await expectSmallerQueryToSucceed();
  });

  it('returns QUERY_TOO_COMPLEX over server-sent events', async () => {
    const response = await fetch(app.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query, variables: variables() }),
    });
    const [, data = ''] = /^data: (.*)$/m.exec(await response.text()) ?? [];
    expect(errorExtensionsOf(JSON.parse(data))).toMatchObject(EXPECTED_ERROR);
    await expectSmallerQueryToSucceed();
  });

  it('returns QUERY_TOO_COMPLEX over WebSocket', async () => {
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query, variables: variables() } });
    const { payload } = await socket.next();
    expect(errorExtensionsOf(payload as GraphQLResponseBody)).toMatchObject(EXPECTED_ERROR);
    socket.close();
    await expectSmallerQueryToSucceed();
  });
});

it('releases the memory of a response: a message of 7 MiB can be read ten times', async () => {
  for (let i = 0; i < 10; i += 1) {
    const { session } = (await app.gql<{ session: { messages: { nodes: { content: string }[] } } }>(PAGE, { id: large, n: 1 })).expectOk();
    expect(session.messages.nodes[0]?.content.length).toBe(7 * MiB);
  }
});

it('a subscription reports QUERY_TOO_COMPLEX for an event whose response is too large and delivers the next event', async () => {
  const id = await createSessionWithMessages(1, "'first'");
  const query = `subscription ($id: ID!) { messageAdded(sessionId: $id) { ${repeat(90, i => `a${i}: message { content }`)} } }`;
  const stream = await app.subscribe<{ messageAdded: Record<string, { content: string }> }>(query, { id });
  const append = 'mutation ($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }';
  for (const content of ['z'.repeat(99_999), 'small']) {
    (await app.gql(append, { input: { sessionId: id, message: { role: 'USER', content } } })).expectOk();
  }
  expect((await stream.nextResult())?.errors?.[0]?.extensions).toMatchObject(EXPECTED_ERROR);
  expect((await stream.next()).messageAdded.a0).toEqual({ content: 'small' });
  await stream.close();
});

describe('while clients do not read their large responses', () => {
  async function requestWithoutReading(): Promise<Socket> {
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

  it('the server returns SERVICE_UNAVAILABLE for large responses, still sends small ones, and recovers when the clients disconnect', {
    timeout: 5 * TEST_WAIT_MS,
  }, async () => {
    const sockets: Socket[] = [];
    const codeOf = async () => (await post(app.url, { query: PAGE, variables: { id: large, n: 1 } })).body.errors?.[0]?.extensions.code;
    // The operating system buffers a part of each response, so the number of clients needed varies.
    await vi.waitUntil(async () => {
      sockets.push(await requestWithoutReading());
      return (await codeOf()) === 'SERVICE_UNAVAILABLE';
    }, WAIT_OPTIONS);
    (await app.gql(PAGE, { id: long, n: 1 })).expectOk();
    for (const socket of sockets) socket.destroy();
    await vi.waitUntil(async () => (await codeOf()) === undefined, WAIT_OPTIONS);
  });
});
