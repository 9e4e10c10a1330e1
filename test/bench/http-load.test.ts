import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { encodePost, runLoad, sendOnce } from '../../scripts/bench/http-load.ts';

const LONG = 'длинный текст 🎉 '.repeat(20_000);

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

async function listen(answer: (body: string, response: ServerResponse) => void): Promise<number> {
  const started = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    answer(body, response);
  });
  server = started;
  await new Promise<void>(resolve => started.listen(0, '127.0.0.1', resolve));
  return (started.address() as AddressInfo).port;
}

describe('the load client', () => {
  it('reads responses with a content length and chunked ones, split into any number of packets', async () => {
    const text = JSON.stringify({ data: { echo: LONG } });
    const whole = await listen((_, response) => response.setHeader('content-length', Buffer.byteLength(text)).end(text));
    expect(await sendOnce(whole, encodePost('/', {}))).toEqual({ data: { echo: LONG } });
    server?.close();
    const chunked = await listen((_, response) => {
      for (let from = 0; from < text.length; from += 70_001) response.write(text.slice(from, from + 70_001));
      response.end();
    });
    expect(await sendOnce(chunked, encodePost('/', {}))).toEqual({ data: { echo: LONG } });
  });

  it("sends each client's requests in order and counts the responses", async () => {
    const seen: string[] = [];
    const port = await listen((body, response) => {
      seen.push(JSON.parse(body).name);
      response.end('{"data":{"ok":true}}');
    });
    const result = await runLoad({
      port,
      durationMs: 50,
      clients: [['a', 'b'], ['c']].map(names => names.map(name => encodePost('/', { name }))),
    });
    expect(result.requests).toBe(seen.length);
    expect(result.latencies).toHaveLength(seen.length);
    const first = seen.filter(name => name !== 'c');
    expect(first).toEqual(first.map((_, index) => (index % 2 === 0 ? 'a' : 'b')));
  });

  it('rejects when a request fails', async () => {
    const errors = await listen((_, response) => response.end('{"errors":[{"message":"no"}]}'));
    await expect(runLoad({ port: errors, durationMs: 50, clients: [[encodePost('/', {})]] })).rejects.toThrow('{"errors"');
    server?.close();
    const broken = await listen((_, response) => response.writeHead(500).end('{"data":{"ok":true}}'));
    await expect(sendOnce(broken, encodePost('/', {}))).rejects.toThrow('500');
    server?.close();
    const gone = await listen((_, response) => response.destroy());
    await expect(sendOnce(gone, encodePost('/', {}))).rejects.toThrow();
  });
});
