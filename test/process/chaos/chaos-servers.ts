import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { type ServerProcess, startServer } from '../server-process.ts';

/** Server processes on one database, which a test can end and start again. */
export interface ChaosServers {
  /** The GraphQL URL of a random server, which may not be running at the moment. */
  pick(random: RandomSource): string;
  /** Sends the signal to a server. Resolves when its process has ended. */
  end(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts an ended server again. Resolves when it serves requests. */
  start(index: number): Promise<void>;
  /** The output of the latest process of each server. */
  outputs(): string;
  /** Stops all servers with SIGTERM. @throws Error if one does not exit with code 0 */
  close(): Promise<void>;
}

/** Starts `count` servers with these environment variables. */
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
        if (code !== 0) throw new Error(`A server ended with exit code ${code}:\n${server.output()}`);
      }
    },
  };
}
