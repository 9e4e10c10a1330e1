import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** What stands between clients and servers, as a load balancer does; the connections through it can be cut. */
export interface CuttingProxy {
  /** Its own address, with the path of GraphQL. */
  readonly url: string;
  readonly webSocketUrl: string;
  /** Leads new connections to the server at the URL; null: they are answered with 503. */
  leadTo(url: string | null): void;
  /** Cuts every connection, without a word. */
  cut(): void;
  /** From now on nothing passes through the connections there are, though they stay open. */
  freeze(): void;
  /** Connections taken so far. */
  connections(): number;
  close(): Promise<void>;
}

const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

/** Starts one on a free port of the loopback address. */
export async function startCuttingProxy(): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let target: URL | null = null;
  let taken = 0;

  function hold(socket: Socket): void {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  }

  const server = createServer(client => {
    taken += 1;
    hold(client);
    if (target === null) {
      client.once('data', () => client.end(UNAVAILABLE));
      return;
    }
    const upstream = connect(Number(target.port), target.hostname);
    hold(upstream);
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
    leadTo(to) {
      target = to === null ? null : new URL(to);
    },
    cut,
    freeze() {
      for (const socket of sockets) socket.unpipe().removeAllListeners('close').pause();
    },
    connections: () => taken,
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
