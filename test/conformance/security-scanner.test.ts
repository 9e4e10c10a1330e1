import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/http-client.ts';
import { type StubServer, startStubServer } from '../support/stub-server.ts';

/** A server configured for a non-loopback address, without GraphiQL and introspection. */
let server: StubServer;
beforeAll(async () => {
  server = await startStubServer({ host: '0.0.0.0', graphiql: false, introspection: false });
});
afterAll(() => server.close());

const repeat = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');

async function codeOf(query: string, variables: Record<string, unknown> = {}): Promise<string | undefined> {
  return (await post(server.url, { query, variables })).body.errors?.[0]?.extensions.code;
}

describe('weaknesses that GraphQL Cop looks for', () => {
  it('refuses 101 aliases of a field', async () => {
    expect(await codeOf(`{ ${repeat(101, i => `alias${i}: __typename`)} }`)).toBe('QUERY_TOO_COMPLEX');
  });

  it('refuses arrays of operations', async () => {
    const { status, body } = await post(server.url, JSON.stringify(Array(10).fill({ query: '{ __typename }' })));
    expect([status, body.errors?.[0]?.extensions.code, body.data]).toEqual([400, 'BAD_USER_INPUT', undefined]);
  });

  it('refuses many directives on a field', async () => {
    expect(await codeOf(`{ __typename ${'@aa'.repeat(10)} }`)).toBe('QUERY_TOO_COMPLEX');
  });

  it('refuses 500 repetitions of a field', async () => {
    expect(await codeOf(`{ ${'__typename '.repeat(500)} }`)).toBe('QUERY_TOO_COMPLEX');
  });

  it('refuses circular introspection', async () => {
    const query = `{ __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }`;
    expect(await codeOf(query)).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  it('refuses introspection, except __typename', async () => {
    for (const query of [getIntrospectionQuery(), '{ __schema { queryType { name } } }', '{ __type(name: "Item") { name } }']) {
      const { body } = await post(server.url, { query });
      expect([body.errors?.[0]?.extensions.code, body.data]).toEqual(['GRAPHQL_VALIDATION_FAILED', undefined]);
    }
    expect((await post(server.url, { query: '{ __typename }' })).body.data).toEqual({ __typename: 'Query' });
  });

  it.each([
    ['field', '{ hell }', {}],
    ['argument', '{ hello(nam: "x") }', {}],
    ['type', 'query ($i: SaveInptu) { hello }', {}],
    ['input field', 'mutation { save(input: { title: "a", tag: [] }) }', {}],
    ['field of a variable', 'mutation ($input: SaveInput!) { save(input: $input) }', { input: { title: 'a', tag: [] } }],
    ['directive', '{ hello @twic }', {}],
  ])('suggests no name for a misspelled %s', async (_what, query, variables) => {
    const { body } = await post(server.url, { query, variables });
    expect(body.errors?.[0]?.message).toEqual(expect.any(String));
    expect(JSON.stringify(body)).not.toContain('Did you mean');
  });

  it('serves no GraphiQL or other playground page', async () => {
    for (const path of ['/graphql', '/graphiql', '/playground', '/console', '/graphql/console', '/ide', '/altair', '/voyager']) {
      const response = await fetch(new URL(path, server.url), { headers: { accept: 'text/html' } });
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.headers.get('content-type') ?? '').not.toContain('text/html');
      expect(await response.text()).not.toMatch(/graphiql|playground/i);
    }
  });

  it('refuses mutations over GET', async () => {
    const response = await fetch(`${server.url}?query=${encodeURIComponent('mutation { waitForRelease }')}`, {
      headers: { accept: 'application/json' },
    });
    expect(response.status).toBe(405);
    expect(server.events).not.toContain('waiting for release');
  });

  it('refuses GET queries that a page of another origin makes a browser send', async () => {
    const url = `${server.url}?query=${encodeURIComponent('{ hello }')}`;
    const crossOriginHeaders: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
      { origin: 'https://example.com' },
    ];
    for (const headers of crossOriginHeaders) {
      const response = await fetch(url, { headers: { accept: 'application/json', ...headers } });
      expect([response.status, await response.text()]).toEqual([403, expect.stringContaining('FORBIDDEN')]);
    }
    expect((await fetch(url, { headers: { accept: 'application/json' } })).status).toBe(200);
  });

  it.each(['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x'])(
    'refuses a POST with content type %s',
    async type => {
      const body = type.startsWith('application') ? 'query=%7B+hello+%7D' : '{"query":"{ hello }"}';
      const { status } = await post(server.url, body, { 'content-type': type });
      expect(status).toBe(415);
    },
  );

  it('returns no tracing data', async () => {
    const { body } = await post(server.url, { query: '{ hello }' });
    expect(Object.keys(body.extensions ?? {})).toEqual(['cost']);
  });

  it('reveals nothing about unexpected errors', async () => {
    for (const query of ['qwerty cop { abc }', '{ fail(how: "plain") }', '{ mustFail(how: "text") }']) {
      const text = JSON.stringify((await post(server.url, { query })).body);
      expect(text).not.toMatch(/secret|stacktrace|"exception"|\bat \/|node_modules/i);
    }
  });
});
