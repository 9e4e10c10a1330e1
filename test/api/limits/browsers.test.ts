import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getStatusWithHost, post } from '../../support/http-client.ts';
import { openRawWebSocket } from '../../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

const APP = 'https://app.example.com';

let local: StubServer;
let remote: StubServer;
let open: StubServer;
beforeAll(async () => {
  local = await startStubServer();
  remote = await startStubServer({ host: '0.0.0.0' });
  open = await startStubServer({ host: '0.0.0.0', corsOrigins: [APP] });
});
afterAll(() => Promise.all([local.close(), remote.close(), open.close()]));

async function preflight(server: StubServer, origin: string): Promise<string | null> {
  const headers = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,authorization' };
  const response = await fetch(server.url, { method: 'OPTIONS', headers });
  return response.headers.get('access-control-allow-origin');
}

describe('requests from pages of other origins', () => {
  it('get FORBIDDEN and no CORS header when no origins are configured, even from localhost', async () => {
    for (const origin of [APP, 'http://localhost:5173', 'null']) {
      expect(await preflight(remote, origin)).toBeNull();
      const { status, body } = await post(remote.url, { query: '{ hello }' }, { origin });
      expect([status, body.errors?.[0]?.extensions.code]).toEqual([403, 'FORBIDDEN']);
      await expect(openRawWebSocket(remote.webSocketUrl, undefined, { origin })).rejects.toThrow('403');
    }
  });

  it('are allowed only from origins that match a configured origin exactly', async () => {
    expect(await preflight(open, APP)).toBe(APP);
    const { status, headers } = await post(open.url, { query: '{ hello }' }, { origin: APP });
    expect([status, headers.get('access-control-allow-origin'), headers.get('access-control-allow-credentials')]).toEqual([200, APP, null]);
    expect(headers.get('access-control-expose-headers')).toContain('x-request-id');
    const socket = await openRawWebSocket(open.webSocketUrl, undefined, { origin: APP });
    socket.close();
    for (const origin of [
      'http://app.example.com',
      'https://app.example.com:444',
      'https://example.com',
      'https://app.example.com.evil.org',
    ]) {
      expect(await preflight(open, origin)).toBeNull();
    }
  });

  it('are allowed from localhost when the server listens on loopback', async () => {
    expect(await preflight(local, 'http://localhost:5173')).toBe('http://localhost:5173');
    expect(await preflight(local, APP)).toBeNull();
  });
});

describe('requests from pages of the server itself', () => {
  it('are allowed', async () => {
    const { status } = await post(remote.url, { query: '{ hello }' }, { origin: new URL(remote.url).origin });
    expect(status).toBe(200);
  });
});

describe('the Host header', () => {
  it('must name this machine on an unauthenticated loopback server, and is not checked on other servers', async () => {
    for (const host of ['rebound.example.com', 'rebound.example.com:99999', 'rebound example.com']) {
      expect(await getStatusWithHost(`${local.url}?query={hello}`, host)).toBe(403);
    }
    expect(await getStatusWithHost(`${remote.url}?query={hello}`, 'sessions.example.com')).toBe(200);
  });
});

describe('security headers', () => {
  it.each(['/graphql?query={hello}', '/', '/other', '/livez'])('are set on %s', async path => {
    const { headers } = await fetch(new URL(path, local.url), { redirect: 'manual', headers: { accept: 'application/json' } });
    expect(Object.fromEntries(headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cache-control': 'no-store',
    });
    expect(headers.get('x-powered-by')).toBeNull();
  });

  it('are set on GraphiQL with its own content security policy', async () => {
    const { headers } = await fetch(local.url, { headers: { accept: 'text/html' } });
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('content-security-policy')).toContain("script-src 'unsafe-inline'");
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  });
});
