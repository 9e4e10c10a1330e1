import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** How events are delivered. */
export type LiveTransport = 'ws' | 'sse';

/** A subscription to open. */
export interface LiveSubscription {
  /** The port on 127.0.0.1. */
  readonly port: number;
  readonly transport: LiveTransport;
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Receives each event, as received. */
  readonly onEvent: (message: Buffer) => void;
  /** Receives the error that ended the subscription: failures must not be measured. */
  readonly onFault: (error: Error) => void;
}

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

const HEAD_END = Buffer.from('\r\n\r\n');
const NEXT = Buffer.from('"type":"next"');
const ERRORS = Buffer.from('"errors":[');
const ACKNOWLEDGED = Buffer.from('"type":"connection_ack"');
const EVENT = Buffer.from('event: next\n');

/**
 * Opens a subscription over a socket, without a client library: it would need as much CPU time as the measured server on the same cores.
 * @returns the function that closes it
 */
export function openSubscription(subscription: LiveSubscription): () => void {
  const { port, transport, onFault } = subscription;
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  let isClosed = false;
  const fail = (reason: string) => {
    if (!isClosed) onFault(new Error(`A subscription failed: ${reason}`));
    isClosed = true;
    socket.destroy();
  };
  socket.on('error', error => fail(error.message));
  socket.on('close', () => fail('the server closed the connection'));
  if (transport === 'ws') subscribeOverWebSocket(socket, subscription, fail);
  else subscribeOverEventStream(socket, subscription, fail);
  return () => {
    isClosed = true;
    socket.destroy();
  };
}

/** Passes the response body on in chunks, if the response has the expected status. */
function afterHead(socket: Socket, status: string, onChunk: (chunk: Buffer) => void, fail: (reason: string) => void): void {
  let head: Buffer | null = Buffer.alloc(0);
  socket.on('data', chunk => {
    if (head === null) return onChunk(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(HEAD_END);
    if (end === -1) return undefined;
    if (!head.toString('latin1', 0, end).startsWith(`HTTP/1.1 ${status} `)) return fail(String(head));
    const rest = head.subarray(end + HEAD_END.length);
    head = null;
    return onChunk(rest);
  });
}

function subscribeOverWebSocket(socket: Socket, { query, variables, onEvent }: LiveSubscription, fail: (reason: string) => void): void {
  const send = (message: object) => socket.write(encodeFrame(TEXT, Buffer.from(JSON.stringify(message))));
  const readFrames = frameReader((opcode, payload) => {
    if (opcode === PING) socket.write(encodeFrame(PONG, payload));
    else if (opcode === CLOSE) fail(`closed: ${payload.toString('utf8', 2)}`);
    else if (payload.includes(ERRORS)) fail(String(payload));
    else if (payload.includes(NEXT)) onEvent(payload);
    else if (payload.includes(ACKNOWLEDGED)) send({ id: '1', type: 'subscribe', payload: { query, variables } });
    else fail(String(payload));
  });
  afterHead(
    socket,
    '101',
    chunk => {
      readFrames(chunk);
    },
    fail,
  );
  const key = randomBytes(16).toString('base64');
  socket.write(
    `GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n`,
  );
  send({ type: 'connection_init' });
}

/** Encodes a client's WebSocket frame (RFC 6455). Its mask is zero, so the payload stays as it is. */
function encodeFrame(opcode: number, payload: Buffer): Buffer {
  const head = payload.length < 126 ? Buffer.alloc(6) : Buffer.alloc(8);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | Math.min(payload.length, 126);
  if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

/** Reads a server's WebSocket frames from chunks. Supports only messages of one frame, which is all that the server sends. */
function frameReader(onFrame: (opcode: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 2) {
      const length = rest.readUInt8(1);
      const start = length < 126 ? 2 : length === 126 ? 4 : 10;
      if (rest.length < start) return;
      const size = length < 126 ? length : length === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < start + size) return;
      onFrame(rest.readUInt8(0) & 0x0f, rest.subarray(start, start + size));
      rest = rest.subarray(start + size);
    }
  };
}

function subscribeOverEventStream(socket: Socket, { query, variables, onEvent }: LiveSubscription, fail: (reason: string) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  afterHead(
    socket,
    '200',
    chunk => {
      // The sizes of HTTP chunks stand between the events, so look for the beginning of each event.
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (rest.includes(ERRORS)) return fail(String(rest));
      for (let at = rest.indexOf(EVENT); at !== -1; at = rest.indexOf(EVENT)) {
        const end = rest.indexOf('\n\n', at);
        if (end === -1) return undefined;
        onEvent(rest.subarray(at, end));
        rest = rest.subarray(end);
      }
      return undefined;
    },
    fail,
  );
  const search = new URLSearchParams({ query, variables: JSON.stringify(variables) });
  socket.write(`GET /graphql?${search} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
}
