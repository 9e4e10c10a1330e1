import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** A Redis server that knows only publish and subscribe, and that a test can stop and start. */
export interface FakeRedis {
  /** The same after every stop and start. */
  readonly url: string;
  /** The number of messages published so far. */
  readonly publishedCount: number;
  /** The number of connections that are subscribed to a channel now. */
  readonly subscriberCount: number;
  start(): Promise<void>;
  /** Drops every connection and refuses new ones. */
  stop(): Promise<void>;
  /** Drops every connection and accepts new ones. */
  dropConnections(): void;
}

const bulkString = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** Splits received bytes into complete commands (arrays of bulk strings, as all clients send) and the incomplete rest. */
function readCommands(buffer: string): { readonly commands: readonly (readonly string[])[]; readonly rest: string } {
  const commands: string[][] = [];
  let rest = buffer;
  for (;;) {
    const [head, count] = /^\*(\d+)\r\n/.exec(rest) ?? [];
    if (head === undefined) return { commands, rest };
    let offset = head.length;
    const command: string[] = [];
    while (command.length < Number(count)) {
      const [size, length] = /^\$(\d+)\r\n/.exec(rest.slice(offset)) ?? [];
      const start = offset + (size?.length ?? 0);
      if (size === undefined || rest.length < start + Number(length) + 2) return { commands, rest };
      command.push(rest.slice(start, start + Number(length)));
      offset = start + Number(length) + 2;
    }
    commands.push(command);
    rest = rest.slice(offset);
  }
}

/** Reserves a free port. The server does not listen until `start`. */
export async function createFakeRedis(): Promise<FakeRedis> {
  const sockets = new Map<Socket, Set<string>>();
  let publishedCount = 0;

  function reply(socket: Socket, channels: Set<string>, [name = '', ...args]: readonly string[]): string {
    switch (name.toUpperCase()) {
      case 'INFO':
        return bulkString('redis_version:7.0.0\r\nloading:0\r\n');
      case 'CLIENT':
        return '+OK\r\n';
      case 'PING':
        return channels.size > 0 ? `*2\r\n${bulkString('pong')}${bulkString('')}` : '+PONG\r\n';
      case 'SUBSCRIBE':
        for (const channel of args) channels.add(channel);
        return args.map(channel => `*3\r\n${bulkString('subscribe')}${bulkString(channel)}:${channels.size}\r\n`).join('');
      case 'PUBLISH': {
        const [channel = '', message = ''] = args;
        publishedCount += 1;
        const subscribers = [...sockets].filter(([other, subscribed]) => other !== socket && subscribed.has(channel));
        for (const [subscriber] of subscribers)
          subscriber.write(`*3\r\n${bulkString('message')}${bulkString(channel)}${bulkString(message)}`);
        return `:${subscribers.length}\r\n`;
      }
      default:
        return `-ERR unknown command '${name}'\r\n`;
    }
  }

  function handleConnection(socket: Socket): void {
    const channels = new Set<string>();
    let buffer = '';
    sockets.set(socket, channels);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    socket.setEncoding('latin1').on('data', (text: string) => {
      const { commands, rest } = readCommands(buffer + text);
      buffer = rest;
      for (const command of commands) socket.write(reply(socket, channels, command));
    });
  }

  async function listen(onPort: number): Promise<Server> {
    const started = createServer(handleConnection).listen(onPort, '127.0.0.1');
    await once(started, 'listening');
    return started;
  }

  async function close(running: Server): Promise<void> {
    const closed = once(running, 'close');
    running.close();
    for (const socket of sockets.keys()) socket.destroy();
    await closed;
  }

  const portFinder = await listen(0);
  const address = portFinder.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await close(portFinder);
  let server: Server | null = null;

  return {
    url: `redis://127.0.0.1:${port}`,
    get publishedCount() {
      return publishedCount;
    },
    get subscriberCount() {
      return [...sockets.values()].filter(channels => channels.size > 0).length;
    },
    async start() {
      server = await listen(port);
    },
    async stop() {
      if (server !== null) await close(server);
      server = null;
    },
    dropConnections() {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
