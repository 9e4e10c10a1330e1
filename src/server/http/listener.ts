import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../log.ts';
import type { RequestHandler } from './routes.ts';

/** What the listener needs. */
interface ListenerOptions {
  readonly onRequest: RequestHandler;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Aborts when the server starts to drain. */
  readonly draining: AbortSignal;
  readonly log: Logger;
}

/** Node's HTTP server, and the connections it has open. */
export interface Listener {
  /**
   * Starts to accept connections.
   * @param port 0 picks a free port
   * @returns the address as a URL without a path, such as `http://127.0.0.1:4000`
   * @throws Node's error, such as EADDRINUSE
   */
  listen(port: number, host: string): Promise<string>;
  /**
   * Stops accepting connections, and closes each open connection when its response has been sent.
   * @param options.lingers whether idle connections stay open for half a second: clients may be about to send on them
   * @returns resolves when no connection is open any more
   */
  close(options: { readonly lingers: boolean }): Promise<void>;
  /** Closes every connection immediately, except WebSockets. */
  closeAllConnections(): void;
}

const LINGER_MS = 500;

/** A request must arrive completely within this time. Slow senders must not occupy connections and memory for minutes. */
const RECEIVE_TIMEOUT_MS = 60_000;

/** Creates the HTTP server. It does not listen yet. */
export function createListener({ onRequest, onUpgrade, draining, log }: ListenerOptions): Listener {
  // Some clients offer an upgrade to HTTP/2 with every request. Node 24.9 and newer can ignore the offer; older versions close the connection.
  const options: ServerOptions & { shouldUpgradeCallback(request: IncomingMessage): boolean } = {
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    requestTimeout: RECEIVE_TIMEOUT_MS,
    headersTimeout: RECEIVE_TIMEOUT_MS / 2,
  };
  const sockets = new Set<Socket>();
  let isLingering = false;

  const server: Server = createServer(options, (request, response) => {
    if (draining.aborted) response.setHeader('connection', 'close');
    const handle = async () => onRequest(request, response);
    handle().catch((error: unknown) => {
      log.error({ err: error }, 'a request failed unexpectedly');
      response.destroy();
    });
    response.once('close', () => {
      if (draining.aborted) setImmediate(closeIdleConnections);
    });
  });
  server.on('upgrade', onUpgrade);
  server.on('connection', socket => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  /** Also closes connections that never sent anything, which browsers open in advance. Node does not count those as idle. */
  function closeIdleConnections(): void {
    if (isLingering) return;
    server.closeIdleConnections();
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  }

  async function lingerUntil(closed: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    const lingered = delay(LINGER_MS, undefined, { ref: false, signal: over.signal }).catch(() => undefined);
    await Promise.race([closed, lingered]);
    over.abort();
  }

  return {
    async listen(port, host) {
      server.listen(port, host);
      await once(server, 'listening');
      const { address, port: boundPort, family } = server.address() as AddressInfo;
      return `http://${family === 'IPv6' ? `[${address}]` : address}:${boundPort}`;
    },
    async close({ lingers }) {
      const closed = server.listening ? once(server, 'close') : Promise.resolve();
      isLingering = lingers;
      // `close` of an HTTP server would also close idle connections immediately; `close` of a net server only stops listening.
      NetServer.prototype.close.call(server);
      if (lingers) await lingerUntil(closed);
      isLingering = false;
      closeIdleConnections();
      await closed;
      // Stops the timer with which Node looks for slow senders.
      server.close();
    },
    closeAllConnections: () => server.closeAllConnections(),
  };
}
