import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A TCP proxy between clients and a server, like a load balancer. A test can break the connections through it. */
export interface CuttingProxy {
  /** The GraphQL endpoint at the proxy. */
  readonly url: string;
  readonly webSocketUrl: string;
  /** Forwards new connections to the server at the URL. With null, the proxy answers them with 503. */
  forwardTo(url: string | null): void;
  /** Closes every connection abruptly. */
  cut(): void;
  /** Keeps the present connections open, but forwards nothing on them any more. */
  freeze(): void;
  close(): Promise<void>;
}

const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

/** Starts a proxy on a free port of the loopback address. It answers with 503 until `forwardTo` is called. */
export async function startCuttingProxy(): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let target: URL | null = null;

  function track(socket: Socket): void {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  }

  const server = createServer(client => {
    track(client);
    if (target === null) {
      client.once('data', () => client.end(UNAVAILABLE));
      return;
    }
    const upstream = connect(Number(target.port), target.hostname);
    track(upstream);
    client.pipe(upstream).pipe(client);
    client.once('close', () => upstream.destroy());
    upstream.once('close', failed => (failed ? client.destroy() : client.end()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.');
  const url = `http://127.0.0.1:${address.port}/graphql`;

  function cut(): void {
    for (const socket of sockets) socket.destroy();
  }

  return {
    url,
    webSocketUrl: url.replace('http', 'ws'),
    forwardTo(url) {
      target = url === null ? null : new URL(url);
    },
    cut,
    freeze() {
      for (const socket of sockets) socket.unpipe().removeAllListeners('close').pause();
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
