import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DomainError } from '../../errors.ts';
import { statusOf, toErrorResponse } from '../graphql/error-model.ts';

const GRAPHQL_RESPONSE = 'application/graphql-response+json';

/** Sends plain text. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

/**
 * Sends a GraphQL response with one error, for requests that are rejected before they reach GraphQL.
 * @param status by default the status of the error's code. The media type does not change it.
 */
export function sendError(request: IncomingMessage, response: ServerResponse, error: DomainError, status = statusOf(error.code)): void {
  const type = request.headers.accept?.includes(GRAPHQL_RESPONSE) ? GRAPHQL_RESPONSE : 'application/json';
  if (error.code === 'UNAUTHORIZED') response.setHeader('www-authenticate', 'Bearer');
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(JSON.stringify(toErrorResponse(error)));
}
