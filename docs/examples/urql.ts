import { Client, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core';
import type { Client as LiveClient } from 'graphql-ws';
import { applyListEvent, LIST_SUBSCRIPTION, type ListData, type ListRow, type ListVariables } from './live-list.ts';
import { type Added, createMessageView, isExpired, MESSAGE_ADDED, type Message, OPEN_SESSION, type Opened } from './messages.ts';

export function createUrqlClient(url: string, live: LiveClient): Client {
  return new Client({
    url,
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: sink => ({ unsubscribe: live.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}

/** Calls `show` with the messages of a session, now and after each new message. Returns the function that stops it. */
export function followMessages(
  client: Client,
  sessionId: string,
  show: (messages: Message[]) => void,
  fail: (reason: unknown) => void,
): () => void {
  const view = createMessageView(show);
  let stop = open();

  function open(): () => void {
    return client.subscription<Opened>(OPEN_SESSION, { sessionId }).subscribe(({ data, error }) => {
      stop();
      if (error || !data) return fail(error);
      view.begin(data);
      stop = follow(data.sessionList.cursor);
    }).unsubscribe;
  }

  function follow(after: string): () => void {
    return client.subscription<Added>(MESSAGE_ADDED, { sessionId, after }).subscribe(({ data, error }) => {
      if (data && !error) return view.add(data);
      stop();
      if (isExpired(error?.graphQLErrors)) stop = open();
      else fail(error);
    }).unsubscribe;
  }

  return () => stop();
}

/** Calls `show` with a list of sessions, now and after each change. Returns the function that stops it. */
export function watchList(
  client: Client,
  variables: ListVariables,
  show: (rows: readonly ListRow[]) => void,
  fail: (reason: unknown) => void,
): () => void {
  let rows: readonly ListRow[] = [];
  const { unsubscribe } = client.subscription<ListData>(LIST_SUBSCRIPTION, variables).subscribe(({ data, error }) => {
    if (error || !data) {
      unsubscribe();
      return fail(error);
    }
    rows = applyListEvent(rows, data.sessionList);
    show(rows);
  });
  return unsubscribe;
}
