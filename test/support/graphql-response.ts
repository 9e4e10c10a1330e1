import type { ErrorCode } from '../../src/errors.ts';
import type { RecordedStatement } from '../../src/postgres/database.ts';
import type { GraphQLResponseError } from './http-client.ts';

/** The response to one operation, with expectations that print the whole exchange when they fail. */
export interface GqlResponse<Data> {
  /** The HTTP status. */
  readonly status: number;
  readonly data: Data | null | undefined;
  readonly errors: readonly GraphQLResponseError[] | undefined;
  readonly extensions: Record<string, unknown> | undefined;
  /** Statements that the application sent to the database between the request and the response. */
  readonly sql: readonly RecordedStatement[];
  /** Returns the data. @throws Error if the response has errors or no data */
  expectOk(): Data;
  /** Returns the first error. @throws Error if there is none or its code is another one */
  expectError(code: ErrorCode): GraphQLResponseError;
}

/** One operation as it was sent. */
export interface SentOperation {
  readonly query: string;
  readonly variables: Record<string, unknown> | undefined;
}

/** The parts of the HTTP response, and the statements sent meanwhile. */
export interface ReceivedResponse<Data> {
  readonly status: number;
  readonly body: {
    readonly data?: Data | null;
    readonly errors?: readonly GraphQLResponseError[];
    readonly extensions?: Record<string, unknown>;
  };
  readonly sql: readonly RecordedStatement[];
}

/** Adds `expectOk` and `expectError` to a response; their errors print the query, the variables and the response. */
export function toGqlResponse<Data>({ query, variables }: SentOperation, { status, body, sql }: ReceivedResponse<Data>): GqlResponse<Data> {
  function fail(expectation: string): never {
    const parts = [
      expectation,
      query.trim(),
      `variables: ${JSON.stringify(variables)}`,
      `response (${status}): ${JSON.stringify(body, null, 2)}`,
    ];
    throw new Error(parts.join('\n\n'));
  }
  return {
    status,
    data: body.data,
    errors: body.errors,
    extensions: body.extensions,
    sql,
    expectOk() {
      if (body.errors !== undefined || body.data === null || body.data === undefined) fail('Expected data without errors.');
      return body.data;
    },
    expectError(code) {
      const error = body.errors?.[0];
      if (error === undefined || error.extensions.code !== code) fail(`Expected the error ${code}.`);
      return error;
    },
  };
}
