import type { Client } from 'graphql-ws';
import { type Added, createMessageView, isExpired, MESSAGE_ADDED, type Message, OPEN_SESSION, type Opened } from './messages.ts';

/** Calls `show` with the messages of a session, now and after each new message. Returns the function that stops it. */
export function followMessages(
  live: Client,
  sessionId: string,
  show: (messages: Message[]) => void,
  fail: (reason: unknown) => void,
): () => void {
  const view = createMessageView(show);
  let stop = open();

  function open(): () => void {
    const operation = { query: OPEN_SESSION, variables: { sessionId } };
    return live.subscribe<Opened>(operation, {
      next({ data, errors }) {
        stop();
        if (errors || !data) return fail(errors);
        view.begin(data);
        stop = follow(data.sessionList.cursor);
      },
      error: fail,
      complete: () => undefined,
    });
  }

  function follow(after: string): () => void {
    const operation = { query: MESSAGE_ADDED, variables: { sessionId, after } };
    return live.subscribe<Added>(operation, {
      next({ data, errors }) {
        if (data && !errors) return view.add(data);
        stop();
        if (isExpired(errors)) stop = open();
        else fail(errors);
      },
      error: fail,
      complete: () => undefined,
    });
  }

  return () => stop();
}
