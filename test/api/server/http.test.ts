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

const LIMIT = 4 * 1024 * 1024;

/** A valid request of exactly so many bytes. */
function requestOf(bytes: number): string {
  const empty = JSON.stringify({ query: 'query ($name: String) { hello(name: $name) }', variables: { name: '' } });
  return empty.replace('""', `"${'x'.repeat(bytes - empty.length)}"`);
}

describe('the address with a slash behind it', () => {
  const slashed = (url: string) => `${url}/`;

  it('answers queries, with or without parameters in the address', async () => {
    expect((await post(slashed(server.url), '{"query":"{ hello }"}')).body.data).toEqual(
      (await post(server.url, '{"query":"{ hello }"}')).body.data,
    );
    const response = await fetch(`${slashed(server.url)}?query=%7B__typename%7D`, { headers: { accept: 'application/json' } });
    expect(await response.json()).toMatchObject({ data: { __typename: 'Query' } });
  });

  it('is GraphiQL to a browser', async () => {
    const response = await fetch(slashed(server.url), { headers: { accept: 'text/html' } });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
  });

  it('opens WebSockets', async () => {
    const socket = await openAcknowledgedWebSocket(slashed(server.webSocketUrl));
    socket.send({ id: '1', type: 'subscribe', payload: { query: '{ __typename }' } });
    expect(await socket.next()).toMatchObject({ type: 'next', payload: { data: { __typename: 'Query' } } });
    socket.close();
  });

  it('is not the address of anything else', async () => {
    expect((await fetch(`${slashed(server.url)}x`)).status).toBe(404);
    expect((await fetch(`${slashed(server.url)}/`)).status).toBe(404);
  });
});

describe('the request body', () => {
  it('may be 4 MiB', async () => {
    const { status, body } = await post(server.url, requestOf(LIMIT));
    expect(status).toBe(200);
    expect(body.data?.hello).toMatch(/^hello x+$/);
  });

  it.each([LIMIT + 1, 5 * LIMIT])('is refused with 413 at %d bytes, and read to its end', async bytes => {
    const { status, body } = await post(server.url, requestOf(bytes));
    expect(status).toBe(413);
    expect(body.errors?.[0]?.extensions).toMatchObject({ code: 'REQUEST_TOO_LARGE', details: { maxBytes: LIMIT }, retryable: false });
  });

  it('is refused with 413 where it does not say how long it is', async () => {
    const chunk = new TextEncoder().encode('x'.repeat(1_000_000));
    let sent = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1;
        if (sent > 8) controller.close();
        else controller.enqueue(chunk);
      },
    });
    // fetch asks for `duplex`, which its type does not know.
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: stream, duplex: 'half' };
    const response = await fetch(server.url, options);
    expect(response.status).toBe(413);
    await response.body?.cancel();
  });

  it.each([
    ['no JSON', '{"query":', 'not JSON'],
    ['empty', '', 'not JSON'],
    ['a number', '7', 'JSON object'],
    ['null', 'null', 'JSON object'],
    ['a batch', '[{"query":"{ hello }"}]', 'Batching'],
    ['an empty object', '{}', 'query string'],
    ['an object without a query', '{"variables":{}}', 'query string'],
    ['a query that is no string', '{"query":7}', 'string'],
    ['variables that are no object', '{"query":"{ hello }","variables":[]}', 'variables'],
    ['a parameter that is none', '{"query":"{ hello }","other":1}', 'other'],
  ])('is BAD_USER_INPUT where it is %s', async (_what, text, message) => {
    const { status, body } = await post(server.url, text);
    expect(status).toBe(400);
    expect(body.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(body.errors?.[0]?.message).toContain(message);
  });

  it('is BAD_USER_INPUT where it is not UTF-8', async () => {
    const bytes = Buffer.concat([Buffer.from('{"query":"{ hello(name: \\"'), Buffer.from([0xff, 0xfe]), Buffer.from('\\") }"}')]);
    const response = await fetch(server.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: bytes });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('UTF-8');
  });

  it('may be GraphQL itself', async () => {
    const { body } = await post(server.url, '{ hello }', { 'content-type': 'application/graphql' });
    expect(body.data).toEqual({ hello: 'hello world' });
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'is refused as %s, which any page may send',
    async type => {
      const { status, body } = await post(server.url, '{"query":"{ hello }"}', { 'content-type': type });
      expect(status).toBe(415);
      expect(body.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    },
  );
});

describe('a GET', () => {
  it('runs a query', async () => {
    const response = await fetch(`${server.url}?query=${encodeURIComponent('{ hello }')}`, { headers: { accept: 'application/json' } });
    expect(await response.json()).toMatchObject({ data: { hello: 'hello world' } });
  });

  it('does not run a mutation', async () => {
    const response = await fetch(`${server.url}?query=${encodeURIComponent('mutation { waitForRelease }')}`, {
      headers: { accept: 'application/json' },
    });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
    expect(await response.text()).toContain('BAD_USER_INPUT');
    expect(server.events).not.toContain('waiting for release');
  });

  it('of / leads to /graphql', async () => {
    const response = await fetch(root, { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/graphql']);
  });

  it('of anything else finds nothing', async () => {
    expect((await fetch(`${root}other`)).status).toBe(404);
    expect((await fetch(`${root}graphql/other`)).status).toBe(404);
  });
});

describe('a request id', () => {
  it('is given, or taken over where it is sane', async () => {
    const given = await post(server.url, { query: '{ hello }' });
    expect(given.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    const taken = await post(server.url, { query: '{ fail(how: "plain") }' }, { 'x-request-id': 'my-id.1' });
    expect(taken.headers.get('x-request-id')).toBe('my-id.1');
    expect(server.log.some(line => line.requestId === 'my-id.1' && line.errorId === taken.body.errors?.[0]?.extensions.errorId)).toBe(true);
    const refused = await post(server.url, { query: '{ hello }' }, { 'x-request-id': 'a b' });
    expect(refused.headers.get('x-request-id')).not.toBe('a b');
  });
});

describe('strangers', () => {
  it('are kept out by their origin', async () => {
    for (const origin of ['https://example.com', 'null', 'http://127.0.0.1.example.com', 'http://localhost.example.com']) {
      const { status, body } = await post(server.url, { query: '{ hello }' }, { origin });
      expect([status, body.errors?.[0]?.extensions.code]).toEqual([403, 'FORBIDDEN']);
    }
  });

  it('are kept out by the name they give this machine', async () => {
    const url = `${server.url}?query={hello}`;
    expect(await getStatusWithHost(url, 'rebound.example.com')).toBe(403);
    expect(await getStatusWithHost(url, 'rebound.example.com:4000')).toBe(403);
    for (const host of ['localhost:4000', '127.0.0.1', '[::1]:4000', 'app.localhost']) expect(await getStatusWithHost(url, host)).toBe(200);
  });

  it('may be pages of this machine', async () => {
    const origin = 'http://localhost:5173';
    const { status, headers } = await post(server.url, { query: '{ hello }' }, { origin });
    expect([status, headers.get('access-control-allow-origin')]).toEqual([200, origin]);
    const asked = await fetch(server.url, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
    });
    expect([asked.status, asked.headers.get('access-control-allow-origin'), asked.headers.get('access-control-allow-headers')]).toEqual([
      204,
      origin,
      'content-type',
    ]);
  });
});

describe('/health', () => {
  it('says whether requests can be served', async () => {
    expect((await fetch(`${root}health`)).status).toBe(200);
    server.ready = false;
    expect((await fetch(`${root}health`)).status).toBe(503);
    server.ready = true;
  });
});

describe('GraphiQL', () => {
  const page = (headers: Record<string, string> = {}) => fetch(server.url, { headers: { accept: 'text/html', ...headers } });

  it('is one page that loads nothing from elsewhere', async () => {
    const response = await page();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const outsideScripts = (await response.text()).replace(/<(script|style)>[\s\S]*?<\/\1>/g, '');
    const addresses = [...outsideScripts.matchAll(/\b(?:src|href|action)="([^"]*)"/g)].map(([, address]) => address?.slice(0, 11));
    expect(addresses).toEqual(['data:image/']);
    expect(/https?:|url\(/i.test(outsideScripts)).toBe(false);
  });

  it('is sent compressed, and not again where it is known', async () => {
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

  it('opens with the example operations', async () => {
    const text = await (await page()).text();
    const names = ['ListSessions', 'PageThroughSessions', 'Search', 'CreateSession', 'AppendMessage', 'SessionEvents'];
    expect(names.filter(name => !text.includes(name))).toEqual([]);
  });

  it('is not there where it is switched off', async () => {
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
