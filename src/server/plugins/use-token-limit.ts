import { type DocumentNode, type ParseOptions, parse, type Source } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { tooDeep } from '../query-shape.ts';

/** The parser calls itself for every level: what is nested beyond the stack cannot be measured, only noticed. */
function parseWithinStack(source: string | Source, options: ParseOptions): DocumentNode {
  try {
    return parse(source, options);
  } catch (error) {
    throw error instanceof RangeError ? tooDeep() : error;
  }
}

/** Stops parsing after this many tokens: GRAPHQL_PARSE_FAILED. What is nested too deep to be parsed at all is QUERY_TOO_DEEP. */
export function useTokenLimit({ maxTokens = 10_000 }: { maxTokens?: number } = {}): Plugin {
  return {
    onParse({ setParseFn }) {
      setParseFn((source, options) => parseWithinStack(source, { ...options, maxTokens }));
    },
  };
}
