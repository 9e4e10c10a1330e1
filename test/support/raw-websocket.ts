import { once } from 'node:events';
import { WebSocket } from 'ws';

/** A WebSocket on which a test says what it likes. */
export interface RawWebSocket {
  /** Sends a text as it is, anything else as JSON. */
  send(message: unknown): void;
  /** The next message, parsed; messages that came meanwhile wait in order. */
  next(): Promise<Record<string, unknown>>;
  /** Resolves with the code and reason once the server has closed the connection. */
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Closes from this side. */
  close(): void;
  /** Cuts the connection without a word. */
  cut(): void;
}

/**
 * Opens one; rejects where the handshake is refused.
 * @param protocols subprotocols offered; none where the list is empty
 * @param options.autoPong false leaves pings unanswered
 */
export async function openRawWebSocket(
  url: string,
  protocols: string[] = ['graphql-transport-ws'],
  headers: Record<string, string> = {},
  options: { autoPong?: boolean } = {},
): Promise<RawWebSocket> {
  const socket = new WebSocket(url, protocols, { headers, ...options });
  const arrived: string[] = [];
  const awaited: ((text: string) => void)[] = [];
  socket.on('message', data => {
    const deliver = awaited.shift();
    if (deliver) deliver(String(data));
    else arrived.push(String(data));
  });
  const closed = new Promise<{ code: number; reason: string }>(resolve => {
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  await once(socket, 'open');
  return {
    send: message => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    async next() {
      const text = arrived.shift() ?? (await new Promise<string>(resolve => awaited.push(resolve)));
      return JSON.parse(text) as Record<string, unknown>;
    },
    closed,
    close: () => socket.close(1000),
    cut: () => socket.terminate(),
  };
}

/** Opens one and says hello. */
export async function openAcknowledged(url: string, headers: Record<string, string> = {}): Promise<RawWebSocket> {
  const socket = await openRawWebSocket(url, undefined, headers);
  socket.send({ type: 'connection_init' });
  await socket.next();
  return socket;
}
