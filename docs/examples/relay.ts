import type { FormattedExecutionResult, Client as LiveClient, Sink } from 'graphql-ws';

interface RelayOperation {
  /** The document; null if the Relay compiler wrote it to a file of trusted documents. */
  text?: string | null;
  /** The id of the trusted document. */
  id?: string | null;
}

/** Returns the functions for Relay's `Network.create(fetchQuery, subscribe)`. */
export function createRelayNetwork(url: string, live: LiveClient) {
  return {
    async fetchQuery({ text, id }: RelayOperation, variables: Record<string, unknown>) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
        body: JSON.stringify({ query: text ?? undefined, documentId: id ?? undefined, variables }),
      });
      return response.json();
    },
    /** Relay accepts any object with `subscribe` as an observable. */
    subscribe<Data, Extensions>({ text, id }: RelayOperation, variables: Record<string, unknown>) {
      const extensions = id ? { persistedQuery: { sha256Hash: id } } : undefined;
      return {
        subscribe: (sink: Sink<FormattedExecutionResult<Data, Extensions>>) => ({
          unsubscribe: live.subscribe({ query: text ?? '', variables, extensions }, sink),
        }),
      };
    },
  };
}
