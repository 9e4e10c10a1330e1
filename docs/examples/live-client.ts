import { type Client, CloseCode, createClient, type FormattedExecutionResult } from 'graphql-ws';

interface LiveOptions {
  /** `wss://…/graphql` */
  url: string;
  /** Returns `Bearer sg_…`. Called before each connection, so that a renewed key is used. */
  authorization?: () => string | Promise<string>;
  /** The `WebSocket` class of the package `ws`. Node before 22 needs it. */
  webSocketImpl?: unknown;
  pingMs?: number;
}

/**
 * Returns a graphql-ws client for views that stay open for days. It detects dead connections, reconnects without limit,
 * and resumes its subscriptions after the last event they received.
 */
export function createLiveClient({ url, authorization, webSocketImpl, pingMs = 10_000 }: LiveOptions): Client {
  let wasAccepted = false;
  let pongTimeout: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url,
    webSocketImpl,
    connectionParams: async () => (authorization ? { authorization: await authorization() } : {}),
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: retries => new Promise(done => setTimeout(done, Math.min(500 * 2 ** retries, 15_000) * (0.5 + Math.random() / 2))),
    // A key that ends while it is in use may have been renewed. A key that is rejected when connecting has not.
    shouldRetry: reason => wasAccepted || !isForbidden(reason),
    keepAlive: pingMs,
    on: {
      connecting: () => {
        wasAccepted = false;
      },
      connected: () => {
        wasAccepted = true;
      },
      ping: received => {
        if (!received) pongTimeout = setTimeout(() => client.terminate(), pingMs);
      },
      pong: () => clearTimeout(pongTimeout),
      closed: () => clearTimeout(pongTimeout),
    },
  });
  return withResume(client);
}

/** True if the server rejected the key: the client needs another one. */
export function isForbidden(reason: unknown): boolean {
  return typeof reason === 'object' && reason !== null && 'code' in reason && reason.code === CloseCode.Forbidden;
}

/** Makes `subscribe` resume operations that take `$after` and select `cursor`. `iterate` does not resume. */
function withResume(client: Client): Client {
  const subscribe: Client['subscribe'] = (payload, sink) => {
    // graphql-ws sends this object again after each reconnection, including what is written into it here.
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
            if (ms !== null) return restart(ms);
            variables.after = cursorOf(result) ?? variables.after;
            sink.next(result);
          },
          error(reason) {
            if (isOver) return;
            const ms = retryAfterMs(reason);
            if (ms === null) sink.error(reason);
            else restart(ms);
          },
          complete() {
            if (!isOver) sink.complete();
          },
        },
      );
      function stopLater(): void {
        isOver = true;
        // Do not stop while graphql-ws handles a message. If the next message completed the operation, graphql-ws would count it
        // as finished twice and close the socket.
        queueMicrotask(stop);
      }
      function restart(ms: number): void {
        stopLater();
        timer = setTimeout(() => {
          end = start();
        }, ms);
      }
      return stopLater;
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

/** How long to wait before a retry, in milliseconds; null if no error is retryable. */
function retryAfterMs(reason: unknown): number | null {
  const errors: readonly { extensions?: { retryable?: boolean; details?: { retryAfterMs?: number } } }[] = Array.isArray(reason)
    ? reason
    : [];
  const failure = errors.find(({ extensions }) => extensions?.retryable);
  return failure === undefined ? null : (failure.extensions?.details?.retryAfterMs ?? 2_000);
}
