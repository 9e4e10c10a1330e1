import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server, request as sendRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { GRAPHIQL_FILE, renderGraphiQLPage } from '../../../../src/server/http/pages/graphiql.ts';
import { servePage } from '../../../../src/server/http/pages/page.ts';
import { encodeAsset, readBuiltAsset, writeBuiltAsset } from '../../../../src/server/http/pages/page-asset.ts';
import { findRoute } from '../../../../src/server/http/routes.ts';

const HTML = `<p>${'a page '.repeat(1_000)}</p>`;
const SCRIPT = 'export const answer = 42;\n';
const POLICY = "default-src 'none'; script-src 'self'";
const loadScript = vi.fn(async () => encodeAsset(Buffer.from(SCRIPT)));

const routes = servePage({
  path: '/page',
  policy: POLICY,
  assets: [
    { name: '', contentType: 'text/html; charset=utf-8', accept: 'text/html', load: () => encodeAsset(Buffer.from(HTML)) },
    { name: 'app.js', contentType: 'text/javascript', load: loadScript },
  ],
});

let server: Server;
let port: number;
beforeAll(async () => {
  server = createServer(async (request, response) => {
    try {
      const route = findRoute(routes, request);
      if (route === undefined) response.writeHead(404).end();
      else await route.handler(request, response);
    } catch {
      response.writeHead(500).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => server.close());

/** Sends a request without the headers that `fetch` adds. */
async function get(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const request = sendRequest({ host: '127.0.0.1', port, path, method, headers: { accept: 'text/html', ...headers } }).end();
  const [response] = await once(request, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const received: { status: number; headers: IncomingHttpHeaders; body: Buffer } = {
    status: response.statusCode,
    headers: response.headers,
    body: Buffer.concat(chunks),
  };
  return received;
}

describe('servePage', () => {
  it('sends the page with its policy, to be revalidated', async () => {
    const { status, headers, body } = await get('/page?any=thing');
    expect([status, body.toString()]).toEqual([200, HTML]);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-length': String(HTML.length),
      'content-security-policy': POLICY,
      'cache-control': 'no-cache',
      vary: 'accept, accept-encoding',
    });
    expect(headers['content-encoding']).toBeUndefined();
  });

  it.each([
    ['gzip', 'gzip', gunzipSync],
    ['gzip, deflate, br', 'br', brotliDecompressSync],
    ['BR;q=0.5, gzip;q=1.0', 'br', brotliDecompressSync],
    ['gzip, br;q=0', 'gzip', gunzipSync],
  ])('compresses it for accept-encoding: %s', async (accepted, coding, decompress) => {
    const { headers, body } = await get('/page', { 'accept-encoding': accepted });
    expect(headers['content-encoding']).toBe(coding);
    expect(headers['content-length']).toBe(String(body.length));
    expect(body.length).toBeLessThan(HTML.length / 10);
    expect(decompress(body).toString()).toBe(HTML);
  });

  it.each(['identity', 'gzip;q=0, br;q=0.000', 'deflate'])('does not compress it for accept-encoding: %s', async accepted => {
    const { headers, body } = await get('/page', { 'accept-encoding': accepted });
    expect(headers['content-encoding']).toBeUndefined();
    expect(body.toString()).toBe(HTML);
  });

  it('has an ETag for each coding and answers If-None-Match with 304', async () => {
    const etags = await Promise.all(
      ['identity', 'gzip', 'br'].map(async coding => String((await get('/page', { 'accept-encoding': coding })).headers.etag)),
    );
    expect(new Set(etags).size).toBe(3);
    const [etag = '', gzipTag = '', brTag = ''] = etags;
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { status, headers, body } = await get('/page', { 'if-none-match': known });
      expect([status, body.length, headers.etag, headers['content-security-policy']]).toEqual([304, 0, etag, POLICY]);
    }
    expect((await get('/page', { 'if-none-match': gzipTag, 'accept-encoding': 'gzip' })).status).toBe(304);
    expect((await get('/page', { 'if-none-match': brTag, 'accept-encoding': 'gzip' })).status).toBe(200);
    expect((await get('/page', { 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('answers HEAD with the headers of GET', async () => {
    const { status, headers, body } = await get('/page', { 'accept-encoding': 'br' }, 'HEAD');
    const full = await get('/page', { 'accept-encoding': 'br' });
    expect([status, body.length]).toEqual([200, 0]);
    expect({ ...headers, date: '' }).toEqual({ ...full.headers, date: '' });
  });

  it('serves other assets below the path, whatever the client accepts', async () => {
    const { status, headers, body } = await get('/page/app.js', { accept: '*/*' });
    expect([status, body.toString()]).toEqual([200, SCRIPT]);
    expect(headers).toMatchObject({ 'content-type': 'text/javascript', 'content-security-policy': POLICY, vary: 'accept-encoding' });
  });

  it.each([
    ['another path', '/page/other.js', 'text/html', 'GET'],
    ['another method', '/page', 'text/html', 'POST'],
    ['a client that does not accept HTML', '/page', 'application/json', 'GET'],
  ])('does not match %s', async (_what, path, accept, method) => {
    expect((await get(path, { accept }, method)).status).toBe(404);
  });

  it('loads an asset once, and again after a failure', async () => {
    const [route] = servePage({
      path: '/retried',
      policy: POLICY,
      assets: [{ name: '', contentType: 'text/plain', load: loadScript }],
    });
    if (route === undefined) throw new Error('There is no route.');
    loadScript.mockClear();
    loadScript.mockRejectedValueOnce(new Error('no disk'));
    const retried = createServer((request, response) => {
      Promise.resolve(route.handler(request, response)).catch(() => response.writeHead(500).end());
    }).listen(0, '127.0.0.1');
    await once(retried, 'listening');
    const url = `http://127.0.0.1:${(retried.address() as AddressInfo).port}/retried`;
    const statuses = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await fetch(url)).status);
    retried.close();
    expect(statuses).toEqual([500, 200, 200]);
    expect(loadScript).toHaveBeenCalledTimes(2);
  });
});

describe('an asset in the build', () => {
  const folder = pathToFileURL(join(tmpdir(), `sessiongraph-pages-${process.pid}/`));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is read as it was written', async () => {
    const asset = await encodeAsset(Buffer.from(HTML));
    await writeBuiltAsset('page.html', asset, folder);
    expect(await readBuiltAsset('page.html', folder)).toEqual(asset);
  });

  it('is GraphiQL, as the set-up has rendered it', async () => {
    const built = await readBuiltAsset(GRAPHIQL_FILE, new URL('../../../../.build/pages/', import.meta.url));
    const page = await renderGraphiQLPage();
    expect(built?.hash).toBe(createHash('sha256').update(page).digest('base64url'));
    expect(built && gunzipSync(built.bodies.gzip).equals(page)).toBe(true);
    expect(built && brotliDecompressSync(built.bodies.br).equals(page)).toBe(true);
  });

  it('is null if the build does not have it', async () => {
    expect(await readBuiltAsset('other.html', folder)).toBeNull();
  });
});
