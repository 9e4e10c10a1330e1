import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { DomainError } from '../../errors.ts';

/** Maximum size of a request body and of a WebSocket message, in bytes. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Maximum bytes read and dropped of a rejected body. After that the connection is cut. */
const MAX_DISCARDED_BYTES = 256 * 1024 * 1024;

const JSON_TYPES = new Set(['application/json', 'application/graphql+json']);
const GRAPHQL_TYPE = 'application/graphql';

function mediaTypeOf(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';', 1).join().trim().toLowerCase();
}

/** True for the content types of GraphQL requests. Browsers send none of these to other origins without a preflight request. */
export function isGraphQLContent(request: IncomingMessage): boolean {
  const type = mediaTypeOf(request);
  return JSON_TYPES.has(type) || type === GRAPHQL_TYPE;
}

function tooLarge(): DomainError {
  return new DomainError('REQUEST_TOO_LARGE', `The request body is larger than ${MAX_BODY_BYTES} bytes.`, { maxBytes: MAX_BODY_BYTES });
}

/** Reads and drops the rest of the body. A client that is cut off while it sends never reads the response. */
function discard(request: IncomingMessage): void {
  let discarded = 0;
  request.removeAllListeners('data');
  request.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > MAX_DISCARDED_BYTES) request.destroy();
  });
  request.resume();
}

/** Drops the body of a request that is rejected anyway, and gives parameters that Yoga accepts. */
export function discardBody(request: IncomingMessage): Record<string, unknown> {
  discard(request);
  return { query: '' };
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const rejectTooLarge = () => {
      discard(request);
      reject(tooLarge());
    };
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return rejectTooLarge();
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) return rejectTooLarge();
      chunks.push(chunk);
      return undefined;
    });
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)));
    // `error` comes only once: a request that was aborted earlier, such as during authentication, has no more events.
    if (request.destroyed) reject(new IncompleteBodyError());
    request.once('error', () => reject(new IncompleteBodyError()));
    return undefined;
  });
}

/** Rejects a request whose body did not arrive: the client disconnected, or was too slow and was cut off. */
export class IncompleteBodyError extends DomainError {
  constructor() {
    super('BAD_USER_INPUT', 'The client disconnected before the request had arrived.');
  }
}

function malformed(problem: string): DomainError {
  return new DomainError('BAD_USER_INPUT', problem);
}

/**
 * The parameters of a POST: the JSON object in its body, or `query` if the body is GraphQL. Reading the body here instead of in Yoga halves
 * the cost of a small request.
 * @throws DomainError REQUEST_TOO_LARGE above 4 MiB (the rest is read and dropped), BAD_USER_INPUT if the body is not a JSON object;
 * IncompleteBodyError
 */
export async function readRequestBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const bytes = await readBytes(request);
  if (!isUtf8(bytes)) throw malformed('The request body is not UTF-8.');
  const text = bytes.toString('utf8');
  if (mediaTypeOf(request) === GRAPHQL_TYPE) return { query: text };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed('The request body is not JSON.');
  }
  if (Array.isArray(value)) throw malformed('Batching is not supported: send one operation per request.');
  if (typeof value !== 'object' || value === null) throw malformed('The request body must be a JSON object.');
  // Yoga would try to read the body again if the object were empty.
  if (Object.keys(value).length === 0) throw malformed('Must provide query string.');
  return { ...value };
}
