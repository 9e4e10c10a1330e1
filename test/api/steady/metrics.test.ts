import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMetrics } from '../../../src/server/metrics.ts';
import type { OperationReport } from '../../../src/server/operation-watch.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { statusWithHost } from '../../support/http-client.ts';
import { openAcknowledged } from '../../support/raw-websocket.ts';

let app: TestApp;
let address: URL;
beforeAll(async () => {
  app = await startTestApp();
  address = new URL('/metrics', app.url);
});
afterAll(() => app.close());

/** The values of one metric by its labels, as the endpoint prints them. */
async function read(name: string): Promise<Record<string, number>> {
  const text = await (await fetch(address)).text();
  const lines = text.split('\n').filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map(line => {
      const [, labels = '', value] = /^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return [labels, Number(value)];
    }),
  );
}

const COUNT = 'sessiongraph_operations_total';
const DURATION = 'sessiongraph_operation_duration_seconds';

describe('/metrics', () => {
  it('counts operations by type, name and code, over HTTP', async () => {
    await app.gql('query Page { sessions(first: 1) { nodes { id } } }');
    await app.gql('query Page { sessions(first: 1) { nodes { id } } }');
    await app.gql('{ sessions(first: 100000) { nodes { id } } }');
    await app.gql('query Wrong { nothing }');
    await app.gql('query {');
    expect(await read(COUNT)).toMatchObject({
      'type="query",operation="Page",code="OK"': 2,
      'type="query",operation="",code="PAGE_SIZE_TOO_LARGE"': 1,
      'type="unknown",operation="",code="GRAPHQL_VALIDATION_FAILED"': 1,
      'type="unknown",operation="",code="GRAPHQL_PARSE_FAILED"': 1,
    });
    expect(await read(`${DURATION}_count`)).toMatchObject({ 'type="query"': 3, 'type="unknown"': 2 });
    expect(await read('sessiongraph_limits_hit_total')).toEqual({ 'limit="page_size"': 1 });
  });

  it('counts what is refused before GraphQL', async () => {
    await fetch(app.url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'hello' });
    expect(await read(COUNT)).toMatchObject({ 'type="unknown",operation="",code="BAD_USER_INPUT"': 1 });
  });

  it('counts over WebSocket what is answered and what is refused', async () => {
    const socket = await openAcknowledged(app.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: 'query OverSocket { serverInfo { version } }' } });
    expect(await socket.next()).toMatchObject({ type: 'next' });
    expect(await socket.next()).toMatchObject({ type: 'complete' });
    socket.send({ id: '2', type: 'subscribe', payload: { query: 'query Bad($id: ID!) { session(id: $id) { id } }' } });
    await socket.next();
    socket.close();
    expect(await read(COUNT)).toMatchObject({
      'type="query",operation="OverSocket",code="OK"': 1,
      'type="query",operation="Bad",code="BAD_USER_INPUT"': 1,
    });
  });

  it.each(['ws', 'sse'] as const)('counts a subscription over %s once, when it begins', async over => {
    const name = `Live${over}`;
    const stream = await app.subscribe(`subscription ${name} { sessionEvents { __typename } }`, {}, { over });
    expect(await read(COUNT)).toMatchObject({ [`type="subscription",operation="${name}",code="OK"`]: 1 });
    expect(await read('sessiongraph_subscriptions')).toEqual({ '': 1 });
    await app.gql('mutation { createSession(input: { title: "a" }) { created } }');
    await stream.next();
    await stream.close();
    expect(await read(COUNT)).toMatchObject({ [`type="subscription",operation="${name}",code="OK"`]: 1 });
  });

  it('shows the pool, the event log and the process', async () => {
    expect((await read('sessiongraph_database_pool_connections'))['']).toBeGreaterThan(0);
    for (const name of ['database_pool_idle', 'database_pool_waiting', 'subscriptions_behind', 'events_buffered', 'event_lag']) {
      expect(await read(`sessiongraph_${name}`)).toEqual({ '': expect.any(Number) });
    }
    expect((await read('process_resident_memory_bytes'))['']).toBeGreaterThan(0);
    expect((await fetch(address)).headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  });

  it('is for programs on this machine only: not for pages, other names, or what a proxy sends on', async () => {
    expect((await fetch(address, { headers: { origin: 'https://evil.example' } })).status).toBe(403);
    expect(await statusWithHost(address.href, 'evil.example')).toBe(403);
    for (const header of ['x-forwarded-for', 'forwarded']) {
      const response = await fetch(address, { headers: { [header]: 'for=10.0.0.1' } });
      expect(response.status).toBe(403);
      expect(await response.text()).not.toContain('sessiongraph_');
    }
  });
});

describe('the number of distinct names', () => {
  const report = (name: string): OperationReport => ({
    requestId: 'r',
    transport: 'http',
    type: 'query',
    name,
    viewer: null,
    codes: [],
    errorIds: [],
    durationMs: 1,
    events: 0,
  });
  const noSources = {
    pool: () => ({ total: 0, idle: 0, waiting: 0 }),
    events: () => ({ subscriptions: 0, behind: 0, buffered: 0, lag: 0 }),
  };

  it('is bounded, however many names clients and limits have', async () => {
    const metrics = createMetrics(noSources);
    for (let n = 0; n < 1_000; n += 1) {
      metrics.answered?.(report(`Name${n}`));
      metrics.limitHit(`limit${n}`);
    }
    metrics.answered?.(report('N'.repeat(1_000)));
    const { text } = await metrics.render();
    const lines = text.split('\n').filter(line => line.startsWith(`${COUNT}{`));
    expect(lines).toHaveLength(101);
    expect(lines).toContain(`${COUNT}{type="query",operation="other",code="OK"} 901`);
    expect(text.split('\n').filter(line => line.startsWith('sessiongraph_limits_hit_total{'))).toHaveLength(101);
  });
});
