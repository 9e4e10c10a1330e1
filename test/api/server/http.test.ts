import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getStatusWithHost, post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
let root: string;
beforeAll(async () => {
  server = await startStubServer();
  root = new URL('/', server.url).href;
});
afterAll(() => server.close());

const MAX_BYTES = 4 * 1024 * 1024;

/** Builds a valid request body of exactly `bytes` bytes. */
function requestOf(bytes: number): string {
  const empty = JSON.stringify({ query: 'query ($name: String) { hello(name: $name) }', variables: { name: '' } });
  return empty.replace('""', `"${'x'.repeat(bytes - empty.length)}"`);
}

describe('the URL /graphql/ with a trailing slash', () => {
  const withSlash = (url: string) => `${url}/`;

  it('serves queries over POST and GET', async () => {
    expect((await post(withSlash(server.url), '{"query":"{ hello }"}')).body.data).toEqual(
      (await post(server.url, '{"query":"{ hello }"}')).body.data,
    );
    const response = await fetch(`${withSlash(server.url)}?query=%7B__typename%7D`, { headers: { accept: 'application/json' } });
    expect(await response.json()).toMatchObject({ data: { __typename: 'Query' } });
  });

  it('serves GraphiQL to a browser', async () => {
    const response = await fetch(withSlash(server.url), { headers: { accept: 'text/html' } });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
  });

  it('accepts WebSockets', async () => {
    const socket = await openAcknowledgedWebSocket(withSlash(server.webSocketUrl));
    socket.send({ id: '1', type: 'subscribe', payload: { query: '{ __typename }' } });
    expect(await socket.next()).toMatchObject({ type: 'next', payload: { data: { __typename: 'Query' } } });
    socket.close();
  });

  it('returns 404 for longer paths', async () => {
    expect((await fetch(`${withSlash(server.url)}x`)).status).toBe(404);
    expect((await fetch(`${withSlash(server.url)}/`)).status).toBe(404);
  });
});

describe('the request body', () => {
  it('may be 4 MiB', async () => {
    const { status, body } = await post(server.url, requestOf(MAX_BYTES));
    expect(status).toBe(200);
    expect(body.data?.hello).toMatch(/^hello x+$/);
  });

  it.each([MAX_BYTES + 1, 5 * MAX_BYTES])('of %d bytes gets REQUEST_TOO_LARGE with status 413, which the client can read', async bytes => {
    const { status, body } = await post(server.url, requestOf(bytes));
    expect(status).toBe(413);
    expect(body.errors?.[0]?.extensions).toMatchObject({ code: 'REQUEST_TOO_LARGE', details: { maxBytes: MAX_BYTES }, retryable: false });
  });

  it('gets 413 if it is too large and chunked, without Content-Length', async () => {
    const chunk = new TextEncoder().encode('x'.repeat(1_000_000));
    let sent = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1;
        if (sent > 8) controller.close();
        else controller.enqueue(chunk);
      },
    });
    // fetch requires `duplex`, which its type lacks.
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: stream, duplex: 'half' };
    const response = await fetch(server.url, options);
    expect(response.status).toBe(413);
    await response.body?.cancel();
  });

  it.each([
    ['not JSON', '{"query":', 'not JSON'],
    ['empty', '', 'not JSON'],
    ['a number', '7', 'JSON object'],
    ['null', 'null', 'JSON object'],
    ['a batch', '[{"query":"{ hello }"}]', 'Batching'],
    ['an empty object', '{}', 'query string'],
    ['an object without a query', '{"variables":{}}', 'query string'],
    ['an object whose query is no string', '{"query":7}', 'string'],
    ['an object whose variables are a list', '{"query":"{ hello }","variables":[]}', 'variables'],
    ['an object with an unknown parameter', '{"query":"{ hello }","other":1}', 'other'],
  ])('gets BAD_USER_INPUT if it is %s', async (_what, text, message) => {
    const { status, body } = await post(server.url, text);
    expect(status).toBe(400);
    expect(body.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(body.errors?.[0]?.message).toContain(message);
  });

  it('gets BAD_USER_INPUT if it is not UTF-8', async () => {
    const bytes = Buffer.concat([Buffer.from('{"query":"{ hello(name: \\"'), Buffer.from([0xff, 0xfe]), Buffer.from('\\") }"}')]);
    const response = await fetch(server.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: bytes });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('UTF-8');
  });

  it('may be a GraphQL document with the type application/graphql', async () => {
    const { body } = await post(server.url, '{ hello }', { 'content-type': 'application/graphql' });
    expect(body.data).toEqual({ hello: 'hello world' });
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'gets 415 with the type %s, which pages of other origins may send without a preflight',
    async type => {
      const { status, body } = await post(server.url, '{"query":"{ hello }"}', { 'content-type': type });
      expect(status).toBe(415);
      expect(body.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    },
  );
});

describe('a GET request', () => {
  it('runs a query', async () => {
    const response = await fetch(`${server.url}?query=${encodeURIComponent('{ hello }')}`, { headers: { accept: 'application/json' } });
    expect(await response.json()).toMatchObject({ data: { hello: 'hello world' } });
  });

  it('gets 405 for a mutation, which is not executed', async () => {
    const response = await fetch(`${server.url}?query=${encodeURIComponent('mutation { waitForRelease }')}`, {
      headers: { accept: 'application/json' },
    });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
    expect(await response.text()).toContain('BAD_USER_INPUT');
    expect(server.events).not.toContain('waiting for release');
  });

  it('to / is redirected to /graphql', async () => {
    const response = await fetch(root, { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/graphql']);
  });

  it('to any other path gets 404', async () => {
    expect((await fetch(`${root}other`)).status).toBe(404);
    expect((await fetch(`${root}graphql/other`)).status).toBe(404);
  });
});

describe('the X-Request-Id header', () => {
  it('is generated, or accepted from the request if it is valid, and logged with errors', async () => {
    const generated = await post(server.url, { query: '{ hello }' });
    expect(generated.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    const accepted = await post(server.url, { query: '{ fail(how: "plain") }' }, { 'x-request-id': 'my-id.1' });
    expect(accepted.headers.get('x-request-id')).toBe('my-id.1');
    expect(server.log.some(line => line.requestId === 'my-id.1' && line.errorId === accepted.body.errors?.[0]?.extensions.errorId)).toBe(
      true,
    );
    const replaced = await post(server.url, { query: '{ hello }' }, { 'x-request-id': 'a b' });
    expect(replaced.headers.get('x-request-id')).not.toBe('a b');
  });
});

describe('a request to a loopback server', () => {
  it('gets FORBIDDEN from a page of another origin', async () => {
    for (const origin of ['https://example.com', 'null', 'http://127.0.0.1.example.com', 'http://localhost.example.com']) {
      const { status, body } = await post(server.url, { query: '{ hello }' }, { origin });
      expect([status, body.errors?.[0]?.extensions.code]).toEqual([403, 'FORBIDDEN']);
    }
  });

  it('gets 403 if its Host header does not name this machine', async () => {
    const url = `${server.url}?query={hello}`;
    expect(await getStatusWithHost(url, 'rebound.example.com')).toBe(403);
    expect(await getStatusWithHost(url, 'rebound.example.com:4000')).toBe(403);
    for (const host of ['localhost:4000', '127.0.0.1', '[::1]:4000', 'app.localhost']) expect(await getStatusWithHost(url, host)).toBe(200);
  });

  it('is allowed from a page on localhost, with CORS headers', async () => {
    const origin = 'http://localhost:5173';
    const { status, headers } = await post(server.url, { query: '{ hello }' }, { origin });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([200, origin]);
    const preflight = await fetch(server.url, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
    });
    expect([
      preflight.status,
      preflight.headers.get('access-control-allow-origin'),
      preflight.headers.get('access-control-allow-headers'),
    ]).toEqual([204, origin, 'content-type']);
  });
});

describe('/health', () => {
  it('returns 200 if the server is ready and 503 if it is not', async () => {
    expect((await fetch(`${root}health`)).status).toBe(200);
    server.ready = false;
    expect((await fetch(`${root}health`)).status).toBe(503);
    server.ready = true;
  });
});

describe('GraphiQL', () => {
  const page = (headers: Record<string, string> = {}) => fetch(server.url, { headers: { accept: 'text/html', ...headers } });

  it('is one page that loads nothing from other URLs', async () => {
    const response = await page();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const outsideScripts = (await response.text()).replace(/<(script|style)>[\s\S]*?<\/\1>/g, '');
    const addresses = [...outsideScripts.matchAll(/\b(?:src|href|action)="([^"]*)"/g)].map(([, address]) => address?.slice(0, 11));
    expect(addresses).toEqual(['data:image/']);
    expect(/https?:|url\(/i.test(outsideScripts)).toBe(false);
  });

  it('is sent with gzip, and as 304 if the client has its ETag', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('GET /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n');
    const chunks: Buffer[] = [];
    socket.on('data', chunk => chunks.push(chunk));
    await once(socket, 'close');
    const answer = Buffer.concat(chunks);
    const bodyStart = answer.indexOf('\r\n\r\n') + 4;
    expect(answer.subarray(0, bodyStart).toString()).toMatch(/content-encoding: gzip/i);
    expect(answer.length).toBeLessThan(3_500_000);
    expect(answer.subarray(bodyStart).length).toBeGreaterThan(1_000_000);
    const etag = (await page()).headers.get('etag');
    expect((await page({ 'if-none-match': String(etag) })).status).toBe(304);
  });

  it('contains the example operations', async () => {
    const text = await (await page()).text();
    const names = ['ListSessions', 'PageThroughSessions', 'Search', 'CreateSession', 'AppendMessage', 'SessionEvents'];
    expect(names.filter(name => !text.includes(name))).toEqual([]);
  });

  it('is not served if it is switched off', async () => {
    const plain = await startStubServer({ graphiql: false });
    try {
      const response = await fetch(plain.url, { headers: { accept: 'text/html' } });
      expect(response.headers.get('content-type') ?? '').not.toContain('text/html');
      expect(response.status).toBe(406);
    } finally {
      await plain.close();
    }
  });
});
