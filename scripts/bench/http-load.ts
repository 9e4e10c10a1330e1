import { connect, type Socket } from 'node:net';

/** The result of a load. */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds from sending a request to receiving its whole response, in rising order. */
  readonly latencies: readonly number[];
}

/** Requests for a server on this machine. */
export interface Load {
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** Each client repeats its list of requests in order. It waits for a response before it sends the next request. */
  readonly clients: readonly (readonly Buffer[])[];
  readonly durationMs: number;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const SUCCESS = Buffer.from('{"data":{');

/** Encodes a POST request with a JSON body. */
export function encodePost(path: string, body: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(body));
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: ${json.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), json]);
}

/**
 * Sends requests over one keep-alive connection per client until the time is over, and waits for the last responses.
 * Uses sockets directly, because node:http would need as much CPU time as the measured server on the same cores.
 * @throws Error if a connection breaks or a response is not 200 with `data` first: failures must not be measured
 */
export async function runLoad(load: Load): Promise<LoadResult> {
  const started = performance.now();
  const latencies = await Promise.all(load.clients.map(requests => runClient(load.port, requests, started + load.durationMs)));
  return {
    seconds: (performance.now() - started) / 1_000,
    requests: latencies.reduce((sum, { length }) => sum + length, 0),
    latencies: latencies.flat().sort((a, b) => a - b),
  };
}

/** Sends one request and returns the parsed response. */
export async function sendOnce(port: number, request: Buffer): Promise<unknown> {
  let response: Buffer | null = null;
  await runClient(port, [request], 0, body => {
    response = body;
  });
  return response === null ? null : JSON.parse(String(response));
}

function runClient(
  port: number,
  requests: readonly Buffer[],
  deadline: number,
  onBody: (body: Buffer) => void = () => undefined,
): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const latencies: number[] = [];
    let received: Buffer | null = null;
    let sentAt = 0;
    let done = false;

    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    const send = () => {
      const request = requests[latencies.length % requests.length];
      if (request === undefined) return fail(new Error('The client has no requests.'));
      sentAt = performance.now();
      socket.write(request);
    };
    socket.on('connect', send);
    socket.on('error', fail);
    socket.on('close', () => {
      if (!done) fail(new Error('The server closed the connection.'));
    });
    socket.on('data', chunk => {
      received = received === null ? chunk : Buffer.concat([received, chunk]);
      try {
        const body = readBody(received);
        if (body === null) return;
        onBody(body);
      } catch (error) {
        return fail(error instanceof Error ? error : new Error(String(error)));
      }
      received = null;
      const now = performance.now();
      latencies.push(now - sentAt);
      if (now < deadline) return send();
      done = true;
      socket.end();
      resolve(latencies);
    });
  });
}

/** The body of a response; null until it is complete. */
function readBody(received: Buffer): Buffer | null {
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd === -1) return null;
  const head = received.toString('latin1', 0, headEnd);
  const rest = received.subarray(headEnd + HEAD_END.length);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head);
  const body = length === null ? readChunks(rest) : rest.length < Number(length[1]) ? null : rest.subarray(0, Number(length[1]));
  if (body !== null && !(head.startsWith('HTTP/1.1 200 ') && body.subarray(0, SUCCESS.length).equals(SUCCESS))) {
    throw new Error(`A request failed: ${head.split('\r\n', 1)[0]} ${body.toString('utf8', 0, 500)}`);
  }
  return body;
}

function readChunks(rest: Buffer): Buffer | null {
  const chunks: Buffer[] = [];
  let from = 0;
  for (;;) {
    const lineEnd = rest.indexOf(LINE_END, from);
    if (lineEnd === -1) return null;
    const size = Number.parseInt(rest.toString('latin1', from, lineEnd), 16);
    const start = lineEnd + LINE_END.length;
    if (rest.length < start + size + LINE_END.length) return null;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(rest.subarray(start, start + size));
    from = start + size + LINE_END.length;
  }
}
