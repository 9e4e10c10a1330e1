import type { DocumentNode, GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { findShapeError, MAX_VALUE_DEPTH } from '../limits/query-shape.ts';

/** Rejects large documents with QUERY_TOO_DEEP or QUERY_TOO_COMPLEX before validation, whose time is not linear in the document. */
export function useQueryShape({
  maxDepth,
  maxAliases = 100,
  maxBreadth = 200,
  maxDirectives = 5,
  maxValueDepth = MAX_VALUE_DEPTH,
}: {
  maxDepth: number;
  maxAliases?: number;
  maxBreadth?: number;
  maxDirectives?: number;
  maxValueDepth?: number;
}): Plugin {
  const known = new WeakMap<DocumentNode, GraphQLError | null>();
  return {
    onValidate({ params: { documentAST }, setResult }) {
      let error = known.get(documentAST);
      if (error === undefined) {
        error = findShapeError(documentAST, { maxDepth, maxAliases, maxBreadth, maxDirectives, maxValueDepth });
        known.set(documentAST, error);
      }
      if (error !== null) setResult([error]);
    },
  };
}
