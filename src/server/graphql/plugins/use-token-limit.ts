import { type DocumentNode, GraphQLError, type ParseOptions, parse, type Source } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { DomainError } from '../../../errors.ts';
import { tooDeep } from '../limits/query-shape.ts';

/** The end of graphql-js's message for a document with too many tokens. The error has no code. */
const TOO_MANY_TOKENS = /tokens\. Parsing aborted\.$/;

/** Parses, and reports documents that are nested so deeply that the recursive parser exceeds the stack. */
function parseWithinStack(source: string | Source, options: ParseOptions): DocumentNode {
  try {
    return parse(source, options);
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep();
    throw error instanceof GraphQLError && TOO_MANY_TOKENS.test(error.message) ? tooManyTokens(error, options) : error;
  }
}

/** @param error gives the message and the location */
function tooManyTokens(error: GraphQLError, { maxTokens }: ParseOptions): GraphQLError {
  const { message, source, positions } = error;
  return new GraphQLError(message, { source, positions, originalError: new DomainError('GRAPHQL_PARSE_FAILED', message, { maxTokens }) });
}

/** Rejects documents with more than `maxTokens` tokens (GRAPHQL_PARSE_FAILED) and documents that exceed the parser's stack (QUERY_TOO_DEEP). */
export function useTokenLimit({ maxTokens = 10_000 }: { maxTokens?: number } = {}): Plugin {
  return {
    onParse({ setParseFn }) {
      setParseFn((source, options) => parseWithinStack(source, { ...options, maxTokens }));
    },
  };
}
