import { type Client, CloseCode, createClient, type FormattedExecutionResult } from 'graphql-ws';

interface LiveOptions {
  /** `wss://…/graphql` */
  url: string;
  /** `Bearer sg_…`, asked for at each connection, so that a renewed one is used. */
  authorization?: () => string | Promise<string>;
  /** The `WebSocket` of `ws`, for Node before 22. */
  webSocketImpl?: unknown;
  pingMs?: number;
}

/** A client of graphql-ws for days and weeks: it finds dead connections, comes back, and its subscriptions go on where they were. */
export function createLiveClient({ url, authorization, webSocketImpl, pingMs = 10_000 }: LiveOptions): Client {
  let wasLetIn = false;
  let pongTimeout: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url,
    webSocketImpl,
    connectionParams: async () => (authorization ? { authorization: await authorization() } : {}),
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: retries => new Promise(done => setTimeout(done, Math.min(500 * 2 ** retries, 15_000) * (0.5 + Math.random() / 2))),
    // A key that ends while it is in use may have been renewed; one that is refused at the door has not.
    shouldRetry: reason => wasLetIn || !isForbidden(reason),
    keepAlive: pingMs,
    on: {
      connecting: () => {
        wasLetIn = false;
      },
      connected: () => {
        wasLetIn = true;
      },
      ping: received => {
        if (!received) pongTimeout = setTimeout(() => client.terminate(), pingMs);
      },
      pong: () => clearTimeout(pongTimeout),
      closed: () => clearTimeout(pongTimeout),
    },
  });
  return resuming(client);
}

/** Whether the key was refused: a new one is needed. */
export function isForbidden(reason: unknown): boolean {
  return typeof reason === 'object' && reason !== null && 'code' in reason && reason.code === CloseCode.Forbidden;
}

/** `subscribe` of this client resumes operations that take `$after` and select `cursor`; `iterate` does not. */
function resuming(client: Client): Client {
  const subscribe: Client['subscribe'] = (payload, sink) => {
    // graphql-ws sends this object anew after each reconnection: what is written into it here goes along.
    const variables: Record<string, unknown> = { ...payload.variables };
    let timer: ReturnType<typeof setTimeout> | undefined;
    let end = start();

    function start(): () => void {
      let isOver = false;
      const stop = client.subscribe<never, never>(
        { ...payload, variables },
        {
          next(result) {
            if (isOver) return;
            const ms = retryAfterMs(result.errors);
            if (ms !== null) return again(ms);
            variables.after = cursorOf(result) ?? variables.after;
            sink.next(result);
          },
          error(reason) {
            if (isOver) return;
            const ms = retryAfterMs(reason);
            if (ms === null) sink.error(reason);
            else again(ms);
          },
          complete() {
            if (!isOver) sink.complete();
          },
        },
      );
      function endNow(): void {
        isOver = true;
        // Not while a message is handled: where the next one completes it, graphql-ws would count it out twice, and close the socket.
        queueMicrotask(stop);
      }
      function again(ms: number): void {
        endNow();
        timer = setTimeout(() => {
          end = start();
        }, ms);
      }
      return endNow;
    }

    return () => {
      clearTimeout(timer);
      end();
    };
  };
  return { ...client, subscribe };
}

function cursorOf({ data }: FormattedExecutionResult<Record<string, { cursor?: string }>>): string | undefined {
  return Object.values(data ?? {})[0]?.cursor;
}

/** How long to wait where a failure may be over then; null where it is none of that kind. */
function retryAfterMs(reason: unknown): number | null {
  const errors: readonly { extensions?: { retryable?: boolean; details?: { retryAfterMs?: number } } }[] = Array.isArray(reason)
    ? reason
    : [];
  const failure = errors.find(({ extensions }) => extensions?.retryable);
  return failure === undefined ? null : (failure.extensions?.details?.retryAfterMs ?? 2_000);
}
