import { request } from 'node:http';

/** An answer over HTTP with its JSON body. */
export interface JsonAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: GraphQLAnswer;
}

/** A GraphQL answer as JSON has it. */
export interface GraphQLAnswer {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly GraphQLAnswerError[];
  readonly extensions?: Record<string, unknown>;
}

/** An error of our model. */
export interface GraphQLAnswerError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: {
    readonly code: string;
    readonly details: Record<string, unknown>;
    readonly timestamp: string;
    readonly retryable: boolean;
    readonly errorId?: string;
  };
}

/** Sends one operation as JSON and takes `application/graphql-response+json`, unless the headers say otherwise. */
export async function post(url: string, body: Record<string, unknown> | string, headers: Record<string, string> = {}): Promise<JsonAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as GraphQLAnswer };
}

/** The status of a GET with a `Host` of one's own, which fetch does not allow. */
export function statusWithHost(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { host } }, response => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}
