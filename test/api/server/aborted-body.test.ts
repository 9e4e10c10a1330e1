import { once } from 'node:events';
import { connect } from 'node:net';
import { beforeAll, expect, it } from 'vitest';
import type { Span } from '../../../src/postgres/tracing.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';

const endedSpans: { readonly attributes: Record<string, unknown>; readonly failed: boolean }[] = [];
const span: Span = {
  traceId: 'f'.repeat(32),
  run: work => work(),
  startLinkedSpan: () => null,
  end: ({ attributes, failed }) => void endedSpans.push({ attributes: { ...attributes }, failed }),
};
let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({ tracer: { startServerSpan: () => span, isSampled: () => false, startChildSpan: () => span } });
});

/** Sends the beginning of a request and disconnects. */
async function sendAndDisconnect(requestId: string, body: string): Promise<void> {
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  const head = `POST /graphql HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n`;
  socket.write(`${head}X-Request-Id: ${requestId}\r\n\r\n${body}`);
  socket.end();
  await once(socket.resume(), 'close');
}

it('counts and logs a request whose client disconnects while it sends the body, and ends its span', async () => {
  for (const [requestId, body] of [
    ['aborted-early', ''],
    ['aborted-later', '{"query":'],
  ] as const) {
    await sendAndDisconnect(requestId, body);
    await expect.poll(() => app.log.filter(line => line.requestId === requestId)).toHaveLength(1);
    expect(app.log.find(line => line.requestId === requestId)).toMatchObject({ msg: 'operation', codes: ['BAD_USER_INPUT'] });
    expect(endedSpans.filter(({ attributes }) => attributes['sessiongraph.request_id'] === requestId)).toEqual([
      { attributes: expect.objectContaining({ 'error.type': 'BAD_USER_INPUT' }), failed: false },
    ]);
  }
  const metrics = await (await fetch(new URL('/metrics', app.url))).text();
  expect(metrics).toContain('sessiongraph_operations_total{type="unknown",operation="",code="BAD_USER_INPUT"} 2');
});
