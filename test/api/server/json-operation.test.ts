import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../../support/http-client.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

const ORIGIN = 'https://dashboard.example';

let server: StubServer;
beforeAll(async () => {
  server = await startStubServer({ corsOrigins: [ORIGIN], limits: { maxQueryCost: 500, maxQueryDepth: 6 } });
});
afterAll(() => server.close());

/** The parts of a response that clients depend on. Times and error ids differ from request to request. */
async function send(body: Record<string, unknown>, headers: Record<string, string>) {
  const response = await post(server.url, body, headers);
  const stable = JSON.stringify(response.body, (name, value) => (name === 'timestamp' || name === 'errorId' ? null : value));
  const { date: _date, 'x-request-id': _id, 'content-length': _length, ...kept } = Object.fromEntries(response.headers);
  return { status: response.status, headers: kept, body: stable };
}

const deep = `{ ${'item { children { nodes { '.repeat(4)}id${' } } }'.repeat(4)} }`;

const REQUESTS: Readonly<Record<string, Record<string, unknown>>> = {
  'a query': { query: '{ hello }' },
  'a query with variables': { query: 'query Greet($name: String) { hello(name: $name) }', variables: { name: 'Ada' }, extensions: {} },
  'one of two operations': { query: 'query A { hello } query B { contextNumber }', operationName: 'A' },
  'a mutation': { query: 'mutation { save(input: { title: "x" }) }' },
  'a field that fails': { query: '{ hello fail(how: "domain") }' },
  'a field that fails unexpectedly': { query: '{ hello fail(how: "plain") }' },
  'a query without data': { query: '{ mustFail(how: "away") }' },
  'a document that does not parse': { query: '{ hello' },
  'an invalid document': { query: '{ nothing { here } }' },
  'an unknown operation': { query: 'query A { hello }', operationName: 'B' },
  'several operations without a name': { query: 'query A { hello } query B { hello }' },
  'a variable of another type': { query: 'query ($name: String) { hello(name: $name) }', variables: { name: 5 } },
  'a query that is too deep': { query: deep },
  'a query that costs too much': { query: '{ items(first: 400) { nodes { children(first: 100) { nodes { id } } } } }' },
  introspection: { query: '{ __schema { queryType { name } } }' },
  'an empty query': { query: '' },
  'variables that are a list': { query: '{ hello }', variables: [1] },
  'an unknown parameter': { query: '{ hello }', unknown: 1 },
};

describe.each(['application/json', 'application/graphql-response+json'])('a POST that accepts %s', mediaType => {
  // A quality value makes Yoga negotiate and answer the same request.
  const byYoga = `${mediaType};q=1`;

  it.each(Object.entries(REQUESTS))('answers %s as Yoga does', async (_name, body) => {
    const expected = await send(body, { accept: byYoga });
    expect(await send(body, { accept: mediaType })).toEqual(expected);
  });

  it('gives a page of an allowed origin the same CORS headers as Yoga', async () => {
    const body = { query: '{ hello }' };
    const expected = await send(body, { accept: byYoga, origin: ORIGIN });
    expect(expected.headers['access-control-allow-origin']).toBe(ORIGIN);
    expect(await send(body, { accept: mediaType, origin: ORIGIN })).toEqual(expected);
  });
});

it('answers application/json if the client accepts everything', async () => {
  for (const accept of ['*/*', 'application/json, */*']) {
    const { status, headers, body } = await send({ query: '{ hello }' }, { accept });
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'application/json; charset=utf-8' });
    expect(JSON.parse(body)).toMatchObject({ data: { hello: expect.any(String) } });
  }
});

it('leaves subscriptions to Yoga, which streams them', async () => {
  const response = await fetch(server.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: '*/*' },
    body: JSON.stringify({ query: 'subscription { ticks(upTo: 1) { n } }' }),
  });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  expect(await response.text()).toContain('"n":1');
});
