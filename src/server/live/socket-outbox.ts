import type { Writable } from 'node:stream';
import type { WebSocket } from 'ws';

/** What leaves a WebSocket: no more waits in memory than a little, however slowly the client reads. */
export interface SocketOutbox {
  /** Resolves at once while the client keeps up, else when it has read what was sent; on a closed socket at once, having sent nothing. */
  send(text: string): Promise<void>;
  /** Answers a ping of the client's. */
  pong(data: Buffer): void;
}

/** Most bytes that wait for a client beside the last message. */
const MAX_WAITING_BYTES = 32 * 1024;

/**
 * While more waits than that, nothing is read from the client either: what it asks for would only wait, too.
 * @param connection what the socket writes to
 * @param onProgress called when a client that was behind has read
 */
export function createSocketOutbox(socket: WebSocket, connection: Writable, onProgress: () => void): SocketOutbox {
  let drained: Promise<void> | null = null;
  let isGathering = false;

  /** A call of the system for each message would cost more than all the rest: what is sent without waiting in between leaves together. */
  function gather(): void {
    if (isGathering) return;
    isGathering = true;
    connection.cork();
    process.nextTick(() => {
      isGathering = false;
      connection.uncork();
    });
  }

  function isFull(bytes: number): boolean {
    return socket.bufferedAmount + bytes > MAX_WAITING_BYTES;
  }

  /** Calls `write`; what it writes is followed, and resolves when it has left. */
  function follow(write: (done: (error?: Error | null) => void) => void): Promise<void> {
    socket.pause();
    const following = new Promise<void>(resolve => {
      write(error => {
        if (drained === following) {
          drained = null;
          socket.resume();
        }
        // A failure is followed by the socket's end, of which everyone hears.
        if (!error) onProgress();
        resolve();
      });
    });
    drained = following;
    return following;
  }

  return {
    async send(text) {
      while (drained !== null) await drained;
      if (socket.readyState !== socket.OPEN) return;
      gather();
      if (isFull(text.length)) await follow(done => socket.send(text, done));
      else socket.send(text);
    },
    pong(data) {
      if (isFull(data.length)) void follow(done => socket.pong(data, false, done));
      else socket.pong(data);
    },
  };
}
