import { getIntrospectionQuery } from 'graphql';
import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type GraphQLResponseBody, post } from '../../support/http-client.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
/** Rejects every query that costs more than 1. Its errors report the cost. */
let cheap: StubServer;
beforeAll(async () => {
  server = await startStubServer();
  cheap = await startStubServer({ limits: { maxQueryCost: 1, maxQueryDepth: 1_000 } });
});
afterAll(() => Promise.all([server.close(), cheap.close()]));

async function errorOf(query: string, variables?: Record<string, unknown>, on: StubServer = server) {
  const { body, status } = await post(on.url, { query, variables });
  const error = body.errors?.[0];
  return { status, code: error?.extensions.code, details: error?.extensions.details, data: body.data };
}

/** Returns the cost of a query from the error of the server `cheap`, or undefined if that server accepts it. */
async function costOf(query: string, variables?: Record<string, unknown>): Promise<unknown> {
  const { code, details } = await errorOf(query, variables, cheap);
  return code === 'QUERY_TOO_COMPLEX' ? details?.cost : code;
}

function nested(levels: number): string {
  return `{ item { ${'children { nodes { '.repeat(levels)} id ${'} }'.repeat(levels)} } }`;
}

describe('the cost of a query', () => {
  it.each([
    ['an object', '{ item { id } }', {}, 2],
    ['the default page size of a field', '{ items { nodes { id } } }', {}, 1 + 50],
    ['first', '{ items(first: 3) { nodes { id } } }', {}, 1 + 3],
    ['last', '{ items(last: 4) { nodes { id } } }', {}, 1 + 4],
    ['a page size in a variable', 'query ($n: Int) { items(first: $n) { nodes { id } } }', { n: 7 }, 1 + 7],
    ['a page size in the default of a variable', 'query ($n: Int = 6) { items(first: $n) { nodes { id } } }', {}, 1 + 6],
    ['at most the maximum page size of a field', '{ items(first: 1000000) { nodes { id } } }', {}, 1 + 500],
    ['a page in a page', '{ items(first: 3) { nodes { children(first: 2) { nodes { id } } } } }', {}, 1 + 3 * (1 + 2)],
    ['edges like nodes', '{ items(first: 3) { edges { cursor node { children(first: 2) { nodes { id } } } } } }', {}, 1 + 3 * (1 + 2)],
    ['a page for pageInfo alone', '{ items(first: 3) { pageInfo { hasNextPage } } }', {}, 1 + 3],
    [
      'totalCount once for each page',
      '{ items(first: 3) { totalCount nodes { children(first: 2) { totalCount } } } }',
      {},
      1 + 10 + 3 * (1 + 10 + 2),
    ],
    ['nodes by the number of ids', 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: ['a', 'b', 'c'] }, 1 + 3],
    ['a search', '{ searchMessages(query: "x", first: 2) { nodes { id } } }', {}, 1 + 50 + 2],
    ['search in a filter', '{ items(first: 1, filter: { search: "x" }) { nodes { id } } }', {}, 1 + 50 + 1],
    ['search in a variable', 'query ($f: ItemFilter) { items(first: 1, filter: $f) { nodes { id } } }', { f: { search: 'x' } }, 1 + 50 + 1],
    [
      'searches in or and not',
      '{ items(first: 1, filter: { or: [{ search: "x" }, { not: { search: "y" } }] }) { nodes { id } } }',
      {},
      1 + 200 + 1,
    ],
    [
      'a search for each item of a page',
      '{ items(first: 3) { nodes { children(first: 1, filter: { search: "x" }) { nodes { id } } } } }',
      {},
      1 + 3 * (1 + 50 + 1),
    ],
    [
      'fragments',
      '{ items(first: 3) { ...page } } fragment page on ItemConnection { nodes { ...item } } fragment item on Item { children(first: 2) { nodes { id } } }',
      {},
      1 + 3 * 3,
    ],
    ['nothing if the operation name is missing', 'query a { items { nodes { id } } } query b { item { id } }', {}, 'BAD_USER_INPUT'],
  ])('counts %s', async (_what, query, variables, cost) => {
    expect(await costOf(query, variables)).toBe(cost);
    expect(await costOf(query, variables)).toBe(cost);
  });

  it('is at most 1 for scalar fields and empty pages', async () => {
    expect(await costOf('{ hello }')).toBeUndefined();
    expect(await costOf('{ items(first: 0) { nodes { id } } }')).toBeUndefined();
    expect(await costOf('{ items(first: -1) { nodes { id } } }')).toBeUndefined();
  });

  it('ignores values of JSON scalars in variables', async () => {
    expect(await costOf('query ($f: ItemFilter) { items(first: 1, filter: $f) { nodes { id } } }', { f: { metadata: 2 } })).toBe(2);
  });

  it('returns QUERY_TOO_COMPLEX above the limit, without data', async () => {
    const { status, code, details, data } = await errorOf('{ items(first: 500) { nodes { children(first: 100) { nodes { id } } } } }');
    expect({ status, code, details }).toEqual({ status: 400, code: 'QUERY_TOO_COMPLEX', details: { cost: 1 + 500 * 101, limit: 20_000 } });
    expect(data).toBeUndefined();
  });

  it('is computed in linear time for nested fragments, and capped', async () => {
    const fragments = Array.from(
      { length: 60 },
      (_, i) =>
        `fragment f${i} on Item { a: children(first: 90) { nodes { ...f${i + 1} } } b: children(first: 90) { nodes { ...f${i + 1} } } }`,
    );
    const query = `{ item { ...f0 } } ${fragments.slice(0, 45).join(' ')} fragment f45 on Item { id }`;
    const { code, details } = await errorOf(query, {}, cheap);
    expect(code).toBe('QUERY_TOO_COMPLEX');
    expect(details?.cost).toBe(1e15);
  });
});

describe('the depth limit', () => {
  it('allows the standard introspection query', async () => {
    const query = getIntrospectionQuery({
      descriptions: true,
      specifiedByUrl: true,
      directiveIsRepeatable: true,
      schemaDescription: true,
      inputValueDeprecation: true,
      oneOf: true,
    });
    const { status, body } = await post(server.url, { query });
    expect({ status, errors: body.errors }).toEqual({ status: 200, errors: undefined });
  });

  it('returns QUERY_TOO_DEEP for fields nested deeper than the limit', async () => {
    expect((await errorOf(nested(9))).code).not.toBe('QUERY_TOO_DEEP');
    const { status, code, details } = await errorOf(nested(10));
    expect({ status, code, details }).toEqual({ status: 400, code: 'QUERY_TOO_DEEP', details: { limit: 20 } });
  });

  it('includes fields in fragments', async () => {
    const query = `{ item { ...a } } fragment a on Item { children { ...b } } fragment b on ItemConnection { nodes { ${nested(9).slice(8, -4)} } }`;
    expect((await errorOf(query)).code).toBe('QUERY_TOO_DEEP');
  });

  it('leaves fragment cycles to validation', async () => {
    const { code } = await errorOf(
      '{ item { ...a } } fragment a on Item { children { nodes { ...b } } } fragment b on Item { children { nodes { ...a } } }',
    );
    expect(code).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  it('rejects introspection with recursive types', async () => {
    const query = `{ __schema { types { ${'fields { type { '.repeat(8)} name ${'} }'.repeat(8)} } } }`;
    expect((await errorOf(query)).status).toBe(400);
  });
});

describe('the limits of aliases, breadth, directives and tokens', () => {
  const repeat = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join(' ');

  it.each([
    ['aliases', `{ ${repeat(101, i => `a${i}: hello`)} }`, 'QUERY_TOO_COMPLEX'],
    ['sibling fields', `{ ${repeat(201, () => 'hello')} }`, 'QUERY_TOO_COMPLEX'],
    ['directives on one field', `{ hello ${repeat(6, () => '@twice')} }`, 'QUERY_TOO_COMPLEX'],
    ['tokens', `{ hello ${repeat(5_001, () => 'item { id }')} }`, 'GRAPHQL_PARSE_FAILED'],
  ])('reject too many %s', async (_what, query, code) => {
    const error = await errorOf(query);
    expect([error.status, error.code]).toEqual([400, code]);
  });

  it('allow exactly as many as the limit', async () => {
    expect((await post(server.url, { query: `{ ${repeat(100, i => `a${i}: hello`)} ${repeat(100, () => 'hello')} }` })).status).toBe(200);
    expect((await post(server.url, { query: `{ hello ${repeat(5, () => '@twice')} }` })).status).toBe(200);
  });
});

describe('query limits over WebSocket', () => {
  it.each([
    ['{ items(first: 500) { nodes { children(first: 100) { nodes { id } } } } }', 'QUERY_TOO_COMPLEX'],
    [nested(10), 'QUERY_TOO_DEEP'],
    [`{ ${'hello '.repeat(20_000)} }`, 'GRAPHQL_PARSE_FAILED'],
  ])('apply to %.40s', async (query, code) => {
    const client = createClient({ url: server.webSocketUrl, webSocketImpl: WebSocket, retryAttempts: 0 });
    const codes: (string | undefined)[] = [];
    try {
      for await (const answer of client.iterate({ query })) codes.push((answer as GraphQLResponseBody).errors?.[0]?.extensions.code);
    } catch (errors) {
      codes.push((errors as NonNullable<GraphQLResponseBody['errors']>)[0]?.extensions.code);
    } finally {
      await client.dispose();
    }
    expect(codes).toEqual([code]);
  });
});
