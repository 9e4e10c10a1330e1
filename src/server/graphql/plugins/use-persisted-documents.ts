import { GraphQLError } from 'graphql';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { documentRequired, type PersistedDocuments } from '../persisted-documents.ts';

/**
 * Replaces the id of a trusted document by its text, over HTTP and SSE. The WebSocket transport does that itself, because it does not run
 * `onParams`. If only trusted documents may run, rejects all others with PERSISTED_QUERY_REQUIRED before they are parsed, over every
 * transport. It must come after plugins that set a parser.
 */
export function usePersistedDocuments(documents: PersistedDocuments): Plugin {
  return {
    onParams({ params, request, setParams }) {
      // For a GET, Yoga passes only the parameters it knows.
      const inUrl = request.method === 'GET' ? new URL(request.url).searchParams.get('documentId') : null;
      const { documentId = inUrl, ...others }: GraphQLParams & { documentId?: unknown } = params;
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
