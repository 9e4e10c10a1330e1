import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createWsClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type GraphQLResponseBody, type GraphQLResponseError, post } from '../../support/http-client.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
beforeAll(async () => {
  server = await startStubServer();
});
afterAll(() => server.close());

type SendOperation = (query: string, variables?: Record<string, unknown>) => Promise<GraphQLResponseError[]>;

async function collect(stream: AsyncIterable<unknown>): Promise<GraphQLResponseError[]> {
  const errors: GraphQLResponseError[] = [];
  try {
    for await (const answer of stream) errors.push(...((answer as GraphQLResponseBody).errors ?? []));
  } catch (thrown) {
    if (!Array.isArray(thrown)) throw thrown;
    errors.push(...(thrown as GraphQLResponseError[]));
  }
  return errors;
}

/** Each sends an operation and returns the errors of its response or stream. */
const transports: Record<string, SendOperation> = {
  HTTP: async (query, variables) => [...((await post(server.url, { query, variables })).body.errors ?? [])],
  SSE: (query, variables) => collect(createSseClient({ url: server.url, retryAttempts: 0 }).iterate({ query, variables })),
  async WebSocket(query, variables) {
    const client = createWsClient({ url: server.webSocketUrl, webSocketImpl: WebSocket, retryAttempts: 0 });
    try {
      return await collect(client.iterate({ query, variables }));
    } finally {
      await client.dispose();
    }
  },
};

describe.each(Object.entries(transports))('an error over %s', (_name, errorsOf) => {
  it.each([
    ['a DomainError in a nullable field', '{ fail(how: "domain") }', 'SESSION_NOT_FOUND', { id: 'x' }],
    ['a DomainError in a non-null field', '{ mustFail(how: "domain") }', 'SESSION_NOT_FOUND', { id: 'x' }],
    ['a query that cannot be parsed', '{ hello', 'GRAPHQL_PARSE_FAILED', {}],
    ['an invalid query', '{ hallo }', 'GRAPHQL_VALIDATION_FAILED', {}],
    [
      'a literal of the wrong type',
      'mutation { save(input: { title: "a", parts: [{ text: "b", count: "c" }] }) }',
      'GRAPHQL_VALIDATION_FAILED',
      { field: 'input.parts.0.count' },
    ],
    ['a literal that its scalar rejects', '{ even(of: 3) }', 'BAD_USER_INPUT', { field: 'of', given: 3 }],
    [
      'a literal that its scalar rejects without naming the field',
      'mutation { save(input: { title: "a", odds: [1, 2] }) }',
      'BAD_USER_INPUT',
      { field: 'input.odds.1' },
    ],
    ['a statement that Postgres cancelled', '{ fail(how: "timeout") }', 'REQUEST_TIMEOUT', {}],
    ['an unreachable database', '{ fail(how: "away") }', 'SERVICE_UNAVAILABLE', {}],
    ['a database that shuts down', '{ fail(how: "shutdown") }', 'SERVICE_UNAVAILABLE', {}],
    ['a pool without a free connection', '{ fail(how: "pool") }', 'SERVICE_UNAVAILABLE', {}],
  ])('has code, details and retryable for %s', async (_what, query, code, details) => {
    const errors = await errorsOf(query);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.extensions).toEqual({
      code,
      details,
      retryable: code === 'REQUEST_TIMEOUT' || code === 'SERVICE_UNAVAILABLE',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
  });

  it.each([
    ['an error', '{ fail(how: "plain") }'],
    ['a thrown string', '{ fail(how: "text") }'],
    ['a GraphQLError of a library', '{ fail(how: "graphql") }'],
    ['a value that does not fit its type', '{ bigInt }'],
  ])('is masked for %s and logged with its errorId', async (_what, query) => {
    const [error] = await errorsOf(query);
    expect(error?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
    expect(error?.path).toHaveLength(1);
    expect(JSON.stringify(error)).not.toMatch(/secret|stack|1099511627776/);
    const line = server.log.find(({ errorId }) => errorId === error?.extensions.errorId);
    expect(JSON.stringify(line)).toMatch(/secret|1099511627776/);
  });

  it('names the path of each invalid variable', async () => {
    const variables = { input: { title: 4, even: 3, tags: ['a', 5], parts: [{ text: 'a' }, { count: 1 }], other: true } };
    const errors = await errorsOf('mutation ($input: SaveInput!) { save(input: $input) }', variables);
    expect(errors.map(({ extensions }) => [extensions.code, extensions.details.field])).toEqual([
      ['BAD_USER_INPUT', 'input.title'],
      ['BAD_USER_INPUT', 'input.even'],
      ['BAD_USER_INPUT', 'input.tags.1'],
      ['BAD_USER_INPUT', 'input.parts.1'],
      ['BAD_USER_INPUT', 'input'],
    ]);
  });

  it('names a required variable that is missing or null', async () => {
    const query = 'query ($of: Even!) { even(of: $of) }';
    for (const variables of [{}, { of: null }]) {
      const errors = await errorsOf(query, variables);
      expect(errors.map(({ extensions }) => [extensions.code, extensions.details.field])).toEqual([['BAD_USER_INPUT', 'of']]);
    }
  });

  it('names the type of a missing variable with the right article', async () => {
    const [even] = await errorsOf('query ($of: Even!) { even(of: $of) }', {});
    expect(even?.message).toBe('of is required: an Even!.');
    const [input] = await errorsOf('mutation ($input: SaveInput!) { save(input: $input) }', {});
    expect(input?.message).toBe('input is required: a SaveInput!.');
  });

  it('does not repeat a long invalid value in its message', async () => {
    const [error] = await errorsOf('query ($of: Int) { items(first: $of) { totalCount } }', { of: 'x'.repeat(100_000) });
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.message.length).toBeLessThan(400);
  });

  it('names a non-null argument whose variable is null', async () => {
    const errors = await errorsOf('query ($of: Even = 2) { even(of: $of) }', { of: null });
    expect(errors.map(({ path, extensions }) => [path, extensions.code, extensions.details])).toEqual([
      [['even'], 'BAD_USER_INPUT', { field: 'of' }],
    ]);
  });

  it('is masked if the context cannot be created', async () => {
    server.failContext(new Error('secret'));
    try {
      const [error] = await errorsOf('{ hello }');
      expect(error?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
      expect(JSON.stringify(error)).not.toContain('secret');
    } finally {
      server.failContext(null);
    }
  });
});

describe.each(Object.entries(transports).filter(([name]) => name !== 'HTTP'))('an error of a subscription over %s', (_name, errorsOf) => {
  it('has its code if the subscription cannot start', async () => {
    const errors = await errorsOf('subscription { refused { n } }');
    expect(errors.map(({ extensions }) => extensions.code)).toEqual(['SESSION_NOT_FOUND']);
  });

  it('is masked if it is unexpected and ends the stream', async () => {
    const errors = await errorsOf('subscription { ticks(upTo: 2, fail: "plain") { n } }');
    expect(errors.map(({ extensions }) => extensions.code)).toEqual(['INTERNAL_SERVER_ERROR']);
    expect(JSON.stringify(errors)).not.toContain('secret');
    expect(server.log.some(({ errorId }) => errorId === errors[0]?.extensions.errorId)).toBe(true);
  });

  it('has its code if it is a DomainError and ends the stream', async () => {
    const errors = await errorsOf('subscription { ticks(upTo: 1, fail: "domain") { n } }');
    expect(errors.map(({ extensions }) => [extensions.code, extensions.details])).toEqual([['SESSION_NOT_FOUND', { id: 'x' }]]);
  });

  it('does not end the stream if it occurs in one event', async () => {
    const errors = await errorsOf('subscription { ticks(upTo: 3) { n fail } }');
    expect(errors.map(({ path }) => path)).toEqual([
      ['ticks', 'fail'],
      ['ticks', 'fail'],
      ['ticks', 'fail'],
    ]);
  });
});

describe('the HTTP status of an error', () => {
  const requests: [string, Record<string, unknown>, number, number][] = [
    ['a query that cannot be parsed', { query: '{ hello' }, 400, 200],
    ['an invalid query', { query: '{ hallo }' }, 400, 200],
    ['a missing variable', { query: 'query ($of: Even!) { even(of: $of) }' }, 400, 200],
    ['an unknown operation', { query: '{ hello }', operationName: 'other' }, 400, 400],
    ['an error in a nullable field', { query: '{ fail(how: "domain") }' }, 200, 200],
    ['an error in a non-null field', { query: '{ mustFail(how: "plain") }' }, 200, 200],
    ['a request without a query', { variables: {} }, 400, 200],
  ];
  it.each(requests)('depends on the media type for %s', async (_what, body, graphqlStatus, jsonStatus) => {
    expect((await post(server.url, body)).status).toBe(graphqlStatus);
    const json = await post(server.url, body, { accept: 'application/json' });
    expect(json.status).toBe(jsonStatus);
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(json.body.errors).toHaveLength(1);
  });

  it('is 500 or 503 if the context cannot be created', async () => {
    server.failContext(new Error('secret'));
    expect((await post(server.url, { query: '{ hello }' })).status).toBe(500);
    server.failContext(Object.assign(new Error('gone'), { code: 'ECONNREFUSED' }));
    expect((await post(server.url, { query: '{ hello }' })).status).toBe(503);
    server.failContext(null);
  });
});

describe('a request that exceeds requestTimeoutMs', () => {
  it('returns REQUEST_TIMEOUT with status 504', async () => {
    const shortTimeoutServer = await startStubServer({ limits: { requestTimeoutMs: 50 } });
    try {
      const { status, body } = await post(shortTimeoutServer.url, { query: 'mutation { waitForRelease }' });
      expect(status).toBe(504);
      expect(body.errors?.[0]?.extensions).toMatchObject({ code: 'REQUEST_TIMEOUT', retryable: true });
    } finally {
      shortTimeoutServer.releaseMutation();
      await shortTimeoutServer.close();
    }
  });
});
