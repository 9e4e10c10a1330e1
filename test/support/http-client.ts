import { request } from 'node:http';

/** An HTTP response with its JSON body. */
export interface JsonResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body: GraphQLResponseBody;
}

/** The JSON of a GraphQL response. */
export interface GraphQLResponseBody {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly GraphQLResponseError[];
  readonly extensions?: Record<string, unknown>;
}

/** One entry of `errors`, with the extensions that every error of the API has. */
export interface GraphQLResponseError {
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

/** POSTs one operation as JSON. It accepts `application/graphql-response+json` unless `headers` say otherwise. */
export async function post(
  url: string,
  body: Record<string, unknown> | string,
  headers: Record<string, string> = {},
): Promise<JsonResponse> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as GraphQLResponseBody };
}

/** Sends a GET with the given `Host` header, which fetch does not allow, and returns the response status. */
export function getStatusWithHost(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { host } }, response => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}
