import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type GraphQLResponseError, post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { WAIT_OPTIONS } from '../../support/wait-time.ts';

const REQUESTS = 3;
const RATE_LIMITED = 'RATE_LIMIT_EXCEEDED';
const INFO = '{ serverInfo { version } }';
const CREATE = 'mutation { createSession(input: {}) { created } }';

type Headers = Record<string, string>;
type Request = Record<string, unknown>;

let app: TestApp;
let admin: Headers;
beforeAll(async () => {
  app = await startTestApp({ env: { RATE_LIMIT_REQUESTS: String(REQUESTS) } });
  admin = await newKey({});
  await vi.waitUntil(() => !app.app.isOpen(), WAIT_OPTIONS);
});

async function newKey(by: Headers): Promise<Headers> {
  const query = 'mutation { createApiKey(input: { name: "limited", scopes: [ADMIN] }) { secret } }';
  const answer = await app.gql<{ createApiKey: { secret: string } }>(query, {}, { headers: by });
  return { authorization: `Bearer ${answer.expectOk().createApiKey.secret}` };
}

/** A new document each time, so that the document cache does not know it. */
const unparsable = (): Request => ({ query: `{ f${randomUUID().replaceAll('-', '')}` });
const FAULTS: readonly (readonly [string, () => Request, string])[] = [
  ['documents that cannot be parsed', unparsable, 'GRAPHQL_PARSE_FAILED'],
  ['invalid documents', () => ({ query: `{ f${randomUUID().replaceAll('-', '')} }` }), 'GRAPHQL_VALIDATION_FAILED'],
  ['unknown operation names', () => ({ query: `query A { a${Date.now()}: __typename }`, operationName: randomUUID() }), 'BAD_USER_INPUT'],
  ['invalid variables', () => ({ query: 'query ($id: ID!) { node(id: $id) { id } }', variables: { id: {} } }), 'BAD_USER_INPUT'],
  [
    'operations that cost too much',
    () => ({
      query: '{ sessions(first: 100) { nodes { messages(first: 100) { nodes { session { messages(first: 100) { nodes { id } } } } } } } }',
    }),
    'QUERY_TOO_COMPLEX',
  ],
];

interface Transport {
  readonly name: string;
  /** Sends the requests one after another and returns the first error of each response. */
  errorsOf(requests: readonly Request[], headers: Headers): Promise<(GraphQLResponseError | undefined)[]>;
}

const TRANSPORTS: readonly Transport[] = [
  {
    name: 'HTTP',
    async errorsOf(requests, headers) {
      const errors: (GraphQLResponseError | undefined)[] = [];
      for (const request of requests) errors.push((await post(app.url, request, headers)).body.errors?.[0]);
      return errors;
    },
  },
  {
    name: 'server-sent events',
    async errorsOf(requests, headers) {
      const errors: (GraphQLResponseError | undefined)[] = [];
      for (const request of requests) {
        const response = await fetch(app.url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
          body: JSON.stringify(request),
        });
        const [, data = '{}'] = /^data: (.+)$/m.exec(await response.text()) ?? [];
        errors.push((JSON.parse(data) as { errors?: GraphQLResponseError[] }).errors?.[0]);
      }
      return errors;
    },
  },
  {
    name: 'WebSocket',
    async errorsOf(requests, headers) {
      const socket = await openAcknowledgedWebSocket(app.webSocketUrl, headers);
      const errors: (GraphQLResponseError | undefined)[] = [];
      for (const request of requests) {
        socket.send({ id: randomUUID(), type: 'subscribe', payload: request });
        let message = await socket.next();
        if (message.type === 'complete') message = await socket.next();
        const payload = message.payload as GraphQLResponseError[] | { errors?: GraphQLResponseError[] };
        errors.push(Array.isArray(payload) ? payload[0] : payload.errors?.[0]);
      }
      socket.close();
      return errors;
    },
  },
];

const codes = (errors: readonly (GraphQLResponseError | undefined)[]) => errors.map(error => error?.extensions.code);

describe.each(TRANSPORTS)('the rate limit of requests over $name', ({ errorsOf }) => {
  it.each(FAULTS)('counts %s as one request each and returns RATE_LIMIT_EXCEEDED beyond the limit', async (_name, fault, code) => {
    const key = await newKey(admin);
    const errors = await errorsOf(
      Array.from({ length: REQUESTS + 2 }, () => fault()),
      key,
    );
    expect(codes(errors)).toEqual([...Array(REQUESTS).fill(code), RATE_LIMITED, RATE_LIMITED]);
    expect(errors.at(-1)?.extensions).toMatchObject({ details: { limit: 'requests', perMinute: REQUESTS }, retryable: true });
    expect(codes(await errorsOf([{ query: INFO }], key))).toEqual([RATE_LIMITED]);
    expect(codes(await errorsOf([{ query: INFO }], await newKey(admin)))).toEqual([undefined]);
  });

  it('counts failing and successful requests together', async () => {
    const key = await newKey(admin);
    const requests = [{ query: INFO }, unparsable(), { query: INFO }, unparsable(), unparsable()];
    expect(codes(await errorsOf(requests, key))).toEqual([undefined, 'GRAPHQL_PARSE_FAILED', undefined, RATE_LIMITED, RATE_LIMITED]);
  });

  it('rejects a caller over the limit before it parses the document', async () => {
    const key = await newKey(admin);
    // Parsing would fail with GRAPHQL_PARSE_FAILED.
    const unparsed = () => ({ query: `{ ${'{'.repeat(3)} ${randomUUID()}` });
    await errorsOf(Array.from({ length: REQUESTS }, unparsable), key);
    const [error] = await errorsOf([unparsed()], key);
    expect(error?.extensions).toMatchObject({ code: RATE_LIMITED, details: { limit: 'requests', retryAfterMs: expect.any(Number) } });
  });

  it('does not reject a document in the cache whose operation counts in another class', async () => {
    await errorsOf([{ query: CREATE }], await newKey(admin));
    const key = await newKey(admin);
    await errorsOf(Array.from({ length: REQUESTS }, unparsable), key);
    expect(codes(await errorsOf([{ query: CREATE }, unparsable()], key))).toEqual([undefined, RATE_LIMITED]);
  });
});

it('a document that cannot be parsed gets RateLimit headers over HTTP, and 429 with Retry-After beyond the limit', async () => {
  const key = await newKey(admin);
  for (const remaining of ['2', '1', '0']) {
    const { status, headers } = await post(app.url, unparsable(), key);
    expect([status, headers.get('ratelimit-limit'), headers.get('ratelimit-remaining')]).toEqual([400, '3', remaining]);
  }
  const { status, headers, body } = await post(app.url, unparsable(), key);
  expect([status, body.data, headers.get('ratelimit-remaining')]).toEqual([429, undefined, '0']);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
});

it('an unauthenticated request gets UNAUTHORIZED and no RateLimit headers', async () => {
  const { status, headers, body } = await post(app.url, unparsable(), { authorization: 'Bearer sg_wrong' });
  expect([status, body.errors?.[0]?.extensions.code, headers.get('ratelimit-limit')]).toEqual([401, 'UNAUTHORIZED', null]);
});
