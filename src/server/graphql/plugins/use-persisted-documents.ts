import { GraphQLError } from 'graphql';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { documentRequired, type PersistedDocuments } from '../persisted-documents.ts';

/**
 * Puts the text of a known document in the place of its id, over HTTP and SSE; a WebSocket does that itself, without these hooks. Where
 * nothing but known documents is run, all others are PERSISTED_QUERY_REQUIRED, over every transport, before they are parsed. To come
 * after what sets a parser.
 */
export function usePersistedDocuments(documents: PersistedDocuments): Plugin {
  return {
    onParams({ params, request, setParams }) {
      // Of a GET Yoga takes the parameters it knows.
      const inAddress = request.method === 'GET' ? new URL(request.url).searchParams.get('documentId') : null;
      const { documentId = inAddress, ...others }: GraphQLParams & { documentId?: unknown } = params;
      const query = documents.textFor({ ...others, documentId });
      if (query !== null) setParams({ ...others, query });
      else if ('documentId' in params) setParams(others);
    },
    onParse({ params, setParseFn }) {
      if (!documents.only || documents.has(params.source.toString())) return;
      setParseFn(() => {
        const failure = documentRequired();
        throw new GraphQLError(failure.message, { originalError: failure });
      });
    },
  };
}
