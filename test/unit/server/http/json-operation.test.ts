import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { buildSchema, execute, getOperationAST, parse } from 'graphql';
import { describe, expect, it } from 'vitest';
import { OPEN_ACCESS } from '../../../../src/server/auth/authenticate.ts';
import type { OperationPreparer } from '../../../../src/server/graphql/operation-preparer.ts';
import { createJsonOperationHandler } from '../../../../src/server/http/json-operation.ts';
import { ResponseHeaders } from '../../../../src/server/http/response-headers.ts';

const schema = buildSchema('type Query { hello: String } type Subscription { ticks: Int }');

const preparer: OperationPreparer = {
  prepare(contextValue, { query }) {
    const document = parse(query);
    const operation = getOperationAST(document);
    if (!operation) throw new Error('The document has no operation.');
    return { args: { schema, document, contextValue, rootValue: { hello: 'world' } }, operation };
  },
  reject: async () => [],
};

/** Serves a body, and returns whether the handler did, and with which status and headers. */
async function serve(body: unknown, accept?: string) {
  const handler = createJsonOperationHandler({ runner: { run: async args => execute(args) }, preparer });
  const request = Object.assign(new IncomingMessage(new Socket()), { body });
  if (accept !== undefined) request.headers.accept = accept;
  const response = new ServerResponse(request);
  const origin = { requestId: 'request', signal: new AbortController().signal, access: OPEN_ACCESS };
  const isServed = await handler({ request, response, headers: new ResponseHeaders() }, { origin });
  return { isServed, isSent: response.writableEnded, status: response.statusCode };
}

const LEFT_TO_YOGA = { isServed: false, isSent: false, status: 200 };

describe('createJsonOperationHandler', () => {
  it.each([undefined, '*/*', 'application/json', 'application/graphql-response+json'])('serves a query for accept: %s', async accept => {
    expect(await serve({ query: '{ hello }' }, accept)).toEqual({ isServed: true, isSent: true, status: 200 });
  });

  it.each(['text/event-stream', 'multipart/mixed', 'application/json;q=0.5'])('leaves accept: %s to Yoga', async accept => {
    expect(await serve({ query: '{ hello }' }, accept)).toEqual(LEFT_TO_YOGA);
  });

  it.each([
    ['an empty query', { query: '' }],
    ['a query that is no text', { query: 5 }],
    ['variables that are a list', { query: '{ hello }', variables: [] }],
    ['an operation name that is no text', { query: '{ hello }', operationName: 5 }],
    ['an unknown parameter', { query: '{ hello }', documentId: 'x' }],
    ['a subscription', { query: 'subscription { ticks }' }],
  ])('leaves %s to Yoga', async (_name, body) => {
    expect(await serve(body)).toEqual(LEFT_TO_YOGA);
  });
});
