import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import type { Client as LiveClient } from 'graphql-ws';
import { applyListEvent, LIST_QUERY, LIST_SUBSCRIPTION, type ListData, type ListRow, type ListVariables } from './live-list.ts';
import { type Added, createMessageView, isExpired, MESSAGE_ADDED, type Message, OPEN_SESSION, type Opened } from './messages.ts';

export function createApolloClient(uri: string, live: LiveClient): ApolloClient {
  return new ApolloClient({
    link: ApolloLink.split(({ operationType }) => operationType === 'subscription', new GraphQLWsLink(live), new HttpLink({ uri })),
    cache: new InMemoryCache(),
    // Otherwise a later, equal subscription would join the first one and miss its snapshot.
    defaultContext: { queryDeduplication: false },
  });
}

/** Calls `show` with the messages of a session, now and after each new message. Returns the function that stops it. */
export function followMessages(
  client: ApolloClient,
  sessionId: string,
  show: (messages: Message[]) => void,
  fail: (reason: unknown) => void,
): () => void {
  const view = createMessageView(show);
  let subscription = open();

  function open() {
    return client.subscribe<Opened>({ query: gql(OPEN_SESSION), variables: { sessionId } }).subscribe(({ data, error }) => {
      subscription.unsubscribe();
      if (error || !data) return fail(error);
      view.begin(data);
      subscription = follow(data.sessionList.cursor);
    });
  }

  function follow(after: string) {
    return client.subscribe<Added>({ query: gql(MESSAGE_ADDED), variables: { sessionId, after } }).subscribe(({ data, error }) => {
      if (data && !error) return view.add(data);
      subscription.unsubscribe();
      if (CombinedGraphQLErrors.is(error) && isExpired(error.errors)) subscription = open();
      else fail(error);
    });
  }

  return () => subscription.unsubscribe();
}

/** Keeps a list of sessions in the cache. Components read it with `useQuery(gql(LIST_QUERY), { variables, fetchPolicy: 'cache-only' })`. */
export function watchList(client: ApolloClient, variables: ListVariables, fail: (reason: unknown) => void): () => void {
  let rows: readonly ListRow[] = [];
  const subscription = client.subscribe<ListData>({ query: gql(LIST_SUBSCRIPTION), variables }).subscribe(({ data, error }) => {
    if (error || !data) return fail(error);
    rows = applyListEvent(rows, data.sessionList);
    const sessions = { __typename: 'SessionConnection', nodes: rows };
    client.cache.writeQuery({ query: gql(LIST_QUERY), variables, data: { sessions } });
  });
  return () => subscription.unsubscribe();
}

/** Reads the list from the cache, for code outside components. */
export function readList(client: ApolloClient, variables: ListVariables): readonly ListRow[] {
  const cached = client.cache.readQuery<{ sessions: { nodes: ListRow[] } }>({ query: gql(LIST_QUERY), variables });
  return cached?.sessions.nodes ?? [];
}
