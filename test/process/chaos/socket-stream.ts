import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';

/** The subscription that a client sends. */
export interface StreamedOperation {
  readonly query: string;
  /** Includes `after` when the client resumes. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/** One result of a subscription. */
export interface StreamResult {
  readonly data?: Readonly<Record<string, unknown>> | null;
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string; readonly retryable: boolean } }[];
}

/** Receives what arrives on a connection, until it ends. */
export interface StreamListener {
  /** Called when the client has sent the subscription. */
  onOpen(): void;
  /** @param id the `id:` of the server-sent event; null over WebSocket */
  onResult(result: StreamResult, id: string | null): void;
  /** Called for an `id:` without an event: all events up to this id have been delivered. */
  onLastEventId(id: string): void;
  /** Called once. */
  onEnd(reason: string): void;
}

/** The transport of a subscription. */
export type StreamTransport = 'ws' | 'sse';

/**
 * Subscribes on a new connection.
 * @param url the GraphQL endpoint over HTTP
 * @param lastEventId the `Last-Event-ID` of an event stream; not used over WebSocket
 * @returns the TCP socket, so that the test can break the connection
 */
export function openSocketStream(
  transport: StreamTransport,
  url: string,
  operation: StreamedOperation,
  lastEventId: string | null,
  listener: StreamListener,
): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  // Without a listener the error would crash the process. The WebSocket or HTTP client on this socket reports it to `end`.
  socket.on('error', () => undefined);
  let hasEnded = false;
  const end = (reason: string) => {
    if (!hasEnded) listener.onEnd(reason);
    hasEnded = true;
  };
  if (transport === 'ws') subscribeOverWebSocket(socket, url, operation, listener, end);
  else subscribeOverEventStream(socket, url, operation, lastEventId, listener, end);
  return socket;
}

function subscribeOverWebSocket(
  socket: Socket,
  url: string,
  payload: StreamedOperation,
  listener: StreamListener,
  end: (reason: string) => void,
): void {
  const webSocket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', { createConnection: () => socket });
  const send = (message: object) => webSocket.send(JSON.stringify(message));
  webSocket.on('error', error => end(String(error)));
  webSocket.on('close', code => end(`closed with ${code}`));
  webSocket.on('open', () => send({ type: 'connection_init' }));
  webSocket.on('message', data => {
    const message = JSON.parse(String(data)) as { type: string; payload: unknown };
    switch (message.type) {
      case 'connection_ack':
        send({ id: '1', type: 'subscribe', payload });
        return listener.onOpen();
      case 'next':
        return listener.onResult(message.payload as StreamResult, null);
      case 'error':
        return listener.onResult({ errors: message.payload as StreamResult['errors'] }, null);
      case 'complete':
        return end('completed');
      case 'ping':
        return send({ type: 'pong' });
    }
  });
}

function subscribeOverEventStream(
  socket: Socket,
  url: string,
  { query, variables }: StreamedOperation,
  lastEventId: string | null,
  listener: StreamListener,
  end: (reason: string) => void,
): void {
  const requestUrl = new URL(url);
  requestUrl.searchParams.set('query', query);
  requestUrl.searchParams.set('variables', JSON.stringify(variables));
  const headers = { accept: 'text/event-stream', ...(lastEventId === null ? {} : { 'last-event-id': lastEventId }) };
  request(requestUrl, { createConnection: () => socket, headers }, response => {
    response.on('error', error => end(String(error)));
    response.on('close', () => end('closed'));
    if (response.statusCode !== 200) return end(`refused with ${response.statusCode}`);
    listener.onOpen();
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) parseBlock(block);
    });
    return undefined;
  })
    .on('error', error => end(String(error)))
    .end();

  function parseBlock(block: string): void {
    const fields = new Map(
      block.split('\n').map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]),
    );
    const [event, id] = [fields.get('event'), fields.get('id')];
    if (event === 'next') listener.onResult(JSON.parse(fields.get('data') ?? '') as StreamResult, id ?? null);
    else if (event === undefined && id !== undefined) listener.onLastEventId(id);
    else if (event === 'complete') end('completed');
  }
}
