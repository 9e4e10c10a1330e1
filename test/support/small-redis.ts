import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** As much of a Redis as publish and subscribe need, which can be away. */
export interface SmallRedis {
  /** Stays the same through every stop and start. */
  readonly url: string;
  /** Messages published so far. */
  readonly published: number;
  /** Connections that listen just now. */
  readonly listening: number;
  start(): Promise<void>;
  /** Refuses and ends every connection. */
  stop(): Promise<void>;
  /** Ends every connection; new ones are taken. */
  cut(): void;
}

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** The commands in what has come so far, and what is left of it: arrays of bulk strings, as all clients send. */
function readCommands(buffer: string): { readonly commands: readonly (readonly string[])[]; readonly rest: string } {
  const commands: string[][] = [];
  let rest = buffer;
  for (;;) {
    const [head, count] = /^\*(\d+)\r\n/.exec(rest) ?? [];
    if (head === undefined) return { commands, rest };
    let at = head.length;
    const command: string[] = [];
    while (command.length < Number(count)) {
      const [size, length] = /^\$(\d+)\r\n/.exec(rest.slice(at)) ?? [];
      const from = at + (size?.length ?? 0);
      if (size === undefined || rest.length < from + Number(length) + 2) return { commands, rest };
      command.push(rest.slice(from, from + Number(length)));
      at = from + Number(length) + 2;
    }
    commands.push(command);
    rest = rest.slice(at);
  }
}

/** Makes one on a free port. It does not run until it is started. */
export async function createSmallRedis(): Promise<SmallRedis> {
  const sockets = new Map<Socket, Set<string>>();
  let published = 0;

  function answer(socket: Socket, channels: Set<string>, [name = '', ...words]: readonly string[]): string {
    switch (name.toUpperCase()) {
      case 'INFO':
        return bulk('redis_version:7.0.0\r\nloading:0\r\n');
      case 'CLIENT':
        return '+OK\r\n';
      case 'PING':
        return channels.size > 0 ? `*2\r\n${bulk('pong')}${bulk('')}` : '+PONG\r\n';
      case 'SUBSCRIBE':
        for (const channel of words) channels.add(channel);
        return words.map(channel => `*3\r\n${bulk('subscribe')}${bulk(channel)}:${channels.size}\r\n`).join('');
      case 'PUBLISH': {
        const [channel = '', message = ''] = words;
        published += 1;
        const listeners = [...sockets].filter(([other, heard]) => other !== socket && heard.has(channel));
        for (const [listener] of listeners) listener.write(`*3\r\n${bulk('message')}${bulk(channel)}${bulk(message)}`);
        return `:${listeners.length}\r\n`;
      }
      default:
        return `-ERR unknown command '${name}'\r\n`;
    }
  }

  function serve(socket: Socket): void {
    const channels = new Set<string>();
    let buffer = '';
    sockets.set(socket, channels);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    socket.setEncoding('latin1').on('data', (text: string) => {
      const { commands, rest } = readCommands(buffer + text);
      buffer = rest;
      for (const command of commands) socket.write(answer(socket, channels, command));
    });
  }

  async function listen(onPort: number): Promise<Server> {
    const listening = createServer(serve).listen(onPort, '127.0.0.1');
    await once(listening, 'listening');
    return listening;
  }

  async function end(listening: Server): Promise<void> {
    const closed = once(listening, 'close');
    listening.close();
    for (const socket of sockets.keys()) socket.destroy();
    await closed;
  }

  const scout = await listen(0);
  const address = scout.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await end(scout);
  let server: Server | null = null;

  return {
    url: `redis://127.0.0.1:${port}`,
    get published() {
      return published;
    },
    get listening() {
      return [...sockets.values()].filter(channels => channels.size > 0).length;
    },
    async start() {
      server = await listen(port);
    },
    async stop() {
      if (server !== null) await end(server);
      server = null;
    },
    cut() {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
