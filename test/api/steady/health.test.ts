import { afterEach, describe, expect, it } from 'vitest';
import { createHealth } from '../../../src/server/http/health.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
afterEach(() => server.close());

async function ask(path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(new URL(path, server.url));
  return { status: response.status, text: (await response.text()).trim() };
}

describe('/readyz and /livez', () => {
  it.each(['/readyz', '/health'])('say at %s whether the database answers, which is nothing to being alive', async path => {
    server = await startStubServer();
    expect(await ask(path)).toMatchObject({ status: 200, text: 'ready' });
    server.ready = false;
    expect(await ask(path)).toMatchObject({ status: 503, text: 'database away' });
    expect(await ask('/livez')).toMatchObject({ status: 200, text: 'ok' });
  });

  it('go first at the end: not ready, while requests are still served', async () => {
    server = await startStubServer();
    server.http.withdraw();
    expect(await ask('/readyz')).toMatchObject({ status: 503, text: 'draining' });
    expect(await ask('/livez')).toMatchObject({ status: 200 });
    const answer = await fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ hello }"}',
    });
    expect(await answer.json()).toMatchObject({ data: { hello: 'hello world' } });
  });

  it('ask a database that does not answer once, and for a bounded time', async () => {
    server = await startStubServer();
    let asked = 0;
    const health = createHealth({
      isReachable: () => {
        asked += 1;
        return new Promise(() => undefined);
      },
      timeoutMs: 20,
    });
    expect(await Promise.all([health.state(), health.state()])).toEqual(['database away', 'database away']);
    expect(asked).toBe(1);
    health.drain();
    expect(await health.state()).toBe('draining');
  });

  it('take a question that fails for a no', async () => {
    server = await startStubServer();
    const health = createHealth({ isReachable: () => Promise.reject(new Error('secret')) });
    expect(await health.state()).toBe('database away');
  });
});
