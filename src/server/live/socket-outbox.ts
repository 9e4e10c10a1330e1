import type { Writable } from 'node:stream';
import type { WebSocket } from 'ws';

/** Sends messages over a WebSocket. It bounds the data in memory, however slowly the client reads. */
export interface SocketOutbox {
  /**
   * Sends a message; on a closed socket, nothing.
   * @returns undefined while the client keeps up; else a promise that resolves when the client has read the message
   */
  send(text: string): Promise<void> | undefined;
  /** Answers a ping of the client. */
  pong(data: Buffer): void;
}

/** Maximum bytes that wait for a client, besides the last message. */
const MAX_WAITING_BYTES = 32 * 1024;

/**
 * Makes the outbox of a WebSocket. While too many bytes wait for the client, it also stops reading the client's messages: further responses
 * would only wait, too.
 * @param connection the stream that the socket writes to
 * @param onProgress called when a slow client has read something
 */
export function createSocketOutbox(socket: WebSocket, connection: Writable, onProgress: () => void): SocketOutbox {
  /** Resolves when the client has read the waiting bytes; null while it keeps up. */
  let drained: Promise<void> | null = null;
  let isCorked = false;

  /** Combines everything sent in one turn of the event loop. One system call per message would cost more than all other work. */
  function corkUntilNextTick(): void {
    if (isCorked) return;
    isCorked = true;
    connection.cork();
    process.nextTick(() => {
      isCorked = false;
      connection.uncork();
    });
  }

  function exceedsLimit(bytes: number): boolean {
    return socket.bufferedAmount + bytes > MAX_WAITING_BYTES;
  }

  /** Writes and stops reading until the data has been sent. */
  function writeAndWait(write: (done: (error?: Error | null) => void) => void): Promise<void> {
    socket.pause();
    const sent = new Promise<void>(resolve => {
      write(error => {
        if (drained === sent) {
          drained = null;
          socket.resume();
        }
        // After an error the socket closes, which the transport handles.
        if (!error) onProgress();
        resolve();
      });
    });
    drained = sent;
    return sent;
  }

  function sendNow(text: string): Promise<void> | undefined {
    if (socket.readyState !== socket.OPEN) return undefined;
    corkUntilNextTick();
    if (exceedsLimit(text.length)) return writeAndWait(done => socket.send(text, done));
    socket.send(text);
    return undefined;
  }

  async function sendWhenDrained(text: string): Promise<void> {
    while (drained !== null) await drained;
    await sendNow(text);
  }

  return {
    send: text => (drained === null ? sendNow(text) : sendWhenDrained(text)),
    pong(data) {
      if (exceedsLimit(data.length)) void writeAndWait(done => socket.pong(data, false, done));
      else socket.pong(data);
    },
  };
}
