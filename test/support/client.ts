import type { ErrorCode } from '../../src/errors.ts';
import type { RecordedStatement } from '../../src/postgres/database.ts';
import type { GraphQLAnswerError } from './http-client.ts';

/** The answer to one operation. */
export interface GqlAnswer<Data> {
  /** Of HTTP. */
  readonly status: number;
  readonly data: Data | null | undefined;
  readonly errors: readonly GraphQLAnswerError[] | undefined;
  readonly extensions: Record<string, unknown> | undefined;
  /** The statements sent to the database meanwhile. */
  readonly sql: readonly RecordedStatement[];
  /** The data, where there are no errors. @throws Error that prints query, variables and answer */
  expectOk(): Data;
  /** The first error, where it has this code. @throws Error that prints query, variables and answer */
  expectError(code: ErrorCode): GraphQLAnswerError;
}

/** One operation as it was sent. */
export interface SentOperation {
  readonly query: string;
  readonly variables: Record<string, unknown> | undefined;
}

/** What came back of it. */
export interface ReceivedAnswer<Data> {
  readonly status: number;
  readonly body: {
    readonly data?: Data | null;
    readonly errors?: readonly GraphQLAnswerError[];
    readonly extensions?: Record<string, unknown>;
  };
  readonly sql: readonly RecordedStatement[];
}

/** Wraps an answer, so that a failed expectation prints all there is to know. */
export function toGqlAnswer<Data>({ query, variables }: SentOperation, { status, body, sql }: ReceivedAnswer<Data>): GqlAnswer<Data> {
  function fail(expectation: string): never {
    const parts = [
      expectation,
      query.trim(),
      `variables: ${JSON.stringify(variables)}`,
      `answer (${status}): ${JSON.stringify(body, null, 2)}`,
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
