import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { type ServerProcess, startServer } from '../server-process.ts';

/** Servers on one database, each a process of its own, which come and go. */
export interface ChaosServers {
  /** The address of GraphQL of one of them; it may be away just now. */
  pick(random: RandomSource): string;
  /** Ends one. Resolves when its process is gone. */
  end(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts one that was ended. Resolves when it serves. */
  start(index: number): Promise<void>;
  /** What the ones that were started last have printed. */
  outputs(): string;
  /** Ends all of them, in order. @throws Error where one does not end with code 0 */
  close(): Promise<void>;
}

/** Starts so many with these environment variables. */
export async function startChaosServers(count: number, variables: Readonly<Record<string, string>>): Promise<ChaosServers> {
  const processes: ServerProcess[] = Array.from({ length: count }, () => startServer(variables));
  const urls: string[] = await Promise.all(processes.map(server => server.ready()));
  return {
    pick: random => urls[random.integer(0, count - 1)] ?? '',
    async end(index, signal) {
      processes[index]?.kill(signal);
      await processes[index]?.ended();
    },
    async start(index) {
      const server = startServer(variables);
      processes[index] = server;
      urls[index] = await server.ready();
    },
    outputs: () => processes.map((server, index) => `Server ${index}:\n${server.output()}`).join('\n'),
    async close() {
      for (const server of processes) server.kill('SIGTERM');
      for (const server of processes) {
        const code = await server.ended();
        if (code !== 0) throw new Error(`A server ended with ${code}:\n${server.output()}`);
      }
    },
  };
}
