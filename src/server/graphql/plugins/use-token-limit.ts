import { type DocumentNode, GraphQLError, type ParseOptions, parse, type Source } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { DomainError } from '../../../errors.ts';
import { tooDeep } from '../limits/query-shape.ts';

/** How graphql-js ends the message of a document of too many tokens; it gives it no code of its own. */
const TOO_MANY_TOKENS = /tokens\. Parsing aborted\.$/;

/** The parser calls itself for every level: what is nested beyond the stack cannot be measured, only noticed. */
function parseWithinStack(source: string | Source, options: ParseOptions): DocumentNode {
  try {
    return parse(source, options);
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep();
    throw error instanceof GraphQLError && TOO_MANY_TOKENS.test(error.message) ? tooManyTokens(error, options) : error;
  }
}

/** @param error keeps its place in the document */
function tooManyTokens(error: GraphQLError, { maxTokens }: ParseOptions): GraphQLError {
  const { message, source, positions } = error;
  return new GraphQLError(message, { source, positions, originalError: new DomainError('GRAPHQL_PARSE_FAILED', message, { maxTokens }) });
}

/** Stops parsing after this many tokens: GRAPHQL_PARSE_FAILED. What is nested too deep to be parsed at all is QUERY_TOO_DEEP. */
export function useTokenLimit({ maxTokens = 10_000 }: { maxTokens?: number } = {}): Plugin {
  return {
    onParse({ setParseFn }) {
      setParseFn((source, options) => parseWithinStack(source, { ...options, maxTokens }));
    },
  };
}
