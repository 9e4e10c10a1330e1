import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';

/** A subscription as a client sends it. */
export interface StreamedOperation {
  readonly query: string;
  /** `after` among them, where it is given. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/** One result of a subscription. */
export interface StreamResult {
  readonly data?: Readonly<Record<string, unknown>> | null;
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string; readonly retryable: boolean } }[];
}

/** Told what comes over a connection, until it has ended. */
export interface StreamListener {
  /** The subscription has been asked for. */
  onOpen(): void;
  /** @param id of the event in the stream, null where the transport has none */
  onResult(result: StreamResult, id: string | null): void;
  /** Where to go on from, told without an event: nothing up to there is still to come. */
  onPlace(id: string): void;
  /** Called once. */
  onEnd(reason: string): void;
}

/** How a client gets events. */
export type StreamTransport = 'ws' | 'sse';

/**
 * Subscribes on a connection of its own.
 * @param url of GraphQL over HTTP
 * @param lastEventId of an event stream
 * @returns the connection, to be maltreated
 */
export function openCuttableStream(
  transport: StreamTransport,
  url: string,
  operation: StreamedOperation,
  lastEventId: string | null,
  listener: StreamListener,
): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  // Whoever uses the socket hears of it, too.
  socket.on('error', () => undefined);
  let isOver = false;
  const end = (reason: string) => {
    if (!isOver) listener.onEnd(reason);
    isOver = true;
  };
  if (transport === 'ws') overWebSocket(socket, url, operation, listener, end);
  else overEventStream(socket, url, operation, lastEventId, listener, end);
  return socket;
}

function overWebSocket(
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

function overEventStream(
  socket: Socket,
  url: string,
  { query, variables }: StreamedOperation,
  lastEventId: string | null,
  listener: StreamListener,
  end: (reason: string) => void,
): void {
  const asked = new URL(url);
  asked.searchParams.set('query', query);
  asked.searchParams.set('variables', JSON.stringify(variables));
  const headers = { accept: 'text/event-stream', ...(lastEventId === null ? {} : { 'last-event-id': lastEventId }) };
  request(asked, { createConnection: () => socket, headers }, response => {
    response.on('error', error => end(String(error)));
    response.on('close', () => end('closed'));
    if (response.statusCode !== 200) return end(`refused with ${response.statusCode}`);
    listener.onOpen();
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) take(block);
    });
    return undefined;
  })
    .on('error', error => end(String(error)))
    .end();

  function take(block: string): void {
    const fields = new Map(
      block.split('\n').map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]),
    );
    const [event, id] = [fields.get('event'), fields.get('id')];
    if (event === 'next') listener.onResult(JSON.parse(fields.get('data') ?? '') as StreamResult, id ?? null);
    else if (event === undefined && id !== undefined) listener.onPlace(id);
    else if (event === 'complete') end('completed');
  }
}
