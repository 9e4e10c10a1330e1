import { once } from 'node:events';
import { WebSocket } from 'ws';

/** A WebSocket on which a test sends any message, valid or not. */
export interface RawWebSocket {
  /** Sends a string as it is, and anything else as JSON. */
  send(message: unknown): void;
  /** Waits for the next message and returns it parsed. Messages are queued in order until they are read. */
  next(): Promise<Record<string, unknown>>;
  /** Resolves with the close code and reason when the connection is closed. */
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Closes the connection from the client with code 1000. */
  close(): void;
  /** Drops the connection without a close frame. */
  terminate(): void;
}

/**
 * Opens a WebSocket. Rejects if the server refuses the handshake.
 * @param protocols subprotocols to offer; an empty list offers none
 * @param options.autoPong if false, the client does not answer pings
 */
export async function openRawWebSocket(
  url: string,
  protocols: string[] = ['graphql-transport-ws'],
  headers: Record<string, string> = {},
  options: { autoPong?: boolean } = {},
): Promise<RawWebSocket> {
  const socket = new WebSocket(url, protocols, { headers, ...options });
  const received: string[] = [];
  const readers: ((text: string) => void)[] = [];
  socket.on('message', data => {
    const resolveNext = readers.shift();
    if (resolveNext) resolveNext(String(data));
    else received.push(String(data));
  });
  const closed = new Promise<{ code: number; reason: string }>(resolve => {
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  await once(socket, 'open');
  return {
    send: message => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    async next() {
      const text = received.shift() ?? (await new Promise<string>(resolve => readers.push(resolve)));
      return JSON.parse(text) as Record<string, unknown>;
    },
    closed,
    close: () => socket.close(1000),
    terminate: () => socket.terminate(),
  };
}

/** Opens a WebSocket, sends `connection_init` and waits for `connection_ack`. */
export async function openAcknowledgedWebSocket(url: string, headers: Record<string, string> = {}): Promise<RawWebSocket> {
  const socket = await openRawWebSocket(url, undefined, headers);
  socket.send({ type: 'connection_init' });
  await socket.next();
  return socket;
}
