import { type Added, createMessageView, isExpired, MESSAGE_ADDED, type Message, OPEN_SESSION, type Opened } from './messages.ts';

interface Result<Data> {
  data?: Data | null;
  errors?: { extensions?: { code?: string; retryable?: boolean; details?: { retryAfterMs?: number } } }[];
}

type Open = (url: string) => EventSource;

/** Calls `take` with each result of a subscription. Resumes after the last event when the connection is lost. Returns the function that stops it. */
function listen<Data>(
  url: string,
  query: string,
  variables: Record<string, unknown>,
  take: (result: Result<Data>) => void,
  open: Open = address => new EventSource(address),
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let source = connect(variables);

  function connect(from: Record<string, unknown>): EventSource {
    const opened = open(`${url}?${new URLSearchParams({ query, variables: JSON.stringify(from) })}`);
    let current = from;
    function reconnect(ms: number): void {
      opened.close();
      timer = setTimeout(() => {
        source = connect(current);
      }, ms);
    }
    opened.addEventListener('next', ({ data, lastEventId }) => {
      if (opened.readyState === opened.CLOSED) return;
      const result: Result<Data> = JSON.parse(data);
      const failure = result.errors?.find(({ extensions }) => extensions?.retryable);
      if (failure) return reconnect(failure.extensions?.details?.retryAfterMs ?? 2_000);
      if (lastEventId) current = { ...variables, after: lastEventId };
      take(result);
    });
    // An EventSource reconnects by itself and sends Last-Event-ID. It gives up on an error response, which a proxy sends while no server runs.
    opened.addEventListener('error', () => {
      if (opened.readyState === opened.CLOSED) reconnect(1_000 + 1_000 * Math.random());
    });
    // An EventSource treats a completed subscription as a lost connection and reconnects, unless it is closed here.
    opened.addEventListener('complete', () => opened.close());
    return opened;
  }

  return () => {
    clearTimeout(timer);
    source.close();
  };
}

/** Calls `show` with the messages of a session, now and after each new message. Returns the function that stops it. */
export function followMessages(
  url: string,
  sessionId: string,
  show: (messages: Message[]) => void,
  fail: (reason: unknown) => void,
  open?: Open,
): () => void {
  const view = createMessageView(show);
  let stop = begin();

  function begin(): () => void {
    const take = ({ data, errors }: Result<Opened>) => {
      stop();
      if (errors || !data) return fail(errors);
      view.begin(data);
      stop = follow(data.sessionList.cursor);
    };
    return listen(url, OPEN_SESSION, { sessionId }, take, open);
  }

  function follow(after: string): () => void {
    const take = ({ data, errors }: Result<Added>) => {
      if (data && !errors) return view.add(data);
      stop();
      if (isExpired(errors)) stop = begin();
      else fail(errors);
    };
    return listen(url, MESSAGE_ADDED, { sessionId, after }, take, open);
  }

  return () => stop();
}
