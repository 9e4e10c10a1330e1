import { afterEach, describe, expect, it } from 'vitest';
import { createHealth } from '../../../src/server/http/health.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
afterEach(() => server.close());

async function get(path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(new URL(path, server.url));
  return { status: response.status, text: (await response.text()).trim() };
}

describe('/readyz and /livez', () => {
  it.each(['/readyz', '/health'])('%s returns 503 without a database, while /livez returns 200', async path => {
    server = await startStubServer();
    expect(await get(path)).toMatchObject({ status: 200, text: 'ready' });
    server.ready = false;
    expect(await get(path)).toMatchObject({ status: 503, text: 'database away' });
    expect(await get('/livez')).toMatchObject({ status: 200, text: 'ok' });
  });

  it('/readyz returns 503 after withdraw, while /livez and requests are still served', async () => {
    server = await startStubServer();
    server.http.withdraw();
    expect(await get('/readyz')).toMatchObject({ status: 503, text: 'draining' });
    expect(await get('/livez')).toMatchObject({ status: 200 });
    const answer = await fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ hello }"}',
    });
    expect(await answer.json()).toMatchObject({ data: { hello: 'hello world' } });
  });

  it('check an unresponsive database once for concurrent calls and give up after timeoutMs', async () => {
    server = await startStubServer();
    let checks = 0;
    const health = createHealth({
      isReachable: () => {
        checks += 1;
        return new Promise(() => undefined);
      },
      timeoutMs: 20,
    });
    expect(await Promise.all([health.state(), health.state()])).toEqual(['database away', 'database away']);
    expect(checks).toBe(1);
    health.drain();
    expect(await health.state()).toBe('draining');
  });

  it('report the database as away if the check fails', async () => {
    server = await startStubServer();
    const health = createHealth({ isReachable: () => Promise.reject(new Error('secret')) });
    expect(await health.state()).toBe('database away');
  });
});
