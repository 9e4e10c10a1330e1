import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { openAcknowledgedWebSocket } from '../support/raw-websocket.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { type OtlpReceiver, startOtlpReceiver } from './otlp-receiver.ts';
import { queryTypename, startServer, stopServers } from './server-process.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

let receiver: OtlpReceiver | null = null;
afterEach(async () => {
  await stopServers();
  await receiver?.close();
  receiver = null;
});

const start = (variables: Record<string, string>) => startServer({ DATABASE_URL: database.url, LOG_LEVEL: 'info', ...variables });

async function send(url: string, query: string, variables: object = {}, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  return response.json();
}

/** Parses the log lines of operations. */
function operationLogLines(output: string): Record<string, unknown>[] {
  const lines = output.split('\n').filter(line => line.includes('"msg":"operation"'));
  return lines.map(line => JSON.parse(line));
}

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const CALLER_SPAN_ID = 'b7ad6b7169203331';
const OTHER_TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const [SERVER, CLIENT, INTERNAL] = [2, 3, 1];

describe('tracing', () => {
  it("exports operations, statements and deliveries in the callers' traces, without content, and all of them before the process ends", async () => {
    receiver = await startOtlpReceiver();
    const server = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=acme',
      OTEL_SERVICE_NAME: 'sessions-of-acme',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      // Longer than the test, so all spans are sent during shutdown.
      OTEL_BSP_SCHEDULE_DELAY: '600000',
    });
    const url = await server.ready();
    const socket = await openAcknowledgedWebSocket(url.replace('http', 'ws'));
    const extensions = { traceparent: `00-${OTHER_TRACE_ID}-${CALLER_SPAN_ID}-01` };
    socket.send({
      id: '1',
      type: 'subscribe',
      payload: { query: 'subscription Live { sessionEvents { session { title } } }', extensions },
    });
    const metrics = new URL('/metrics', url);
    await vi.waitUntil(async () => (await (await fetch(metrics)).text()).includes('\nsessiongraph_subscriptions 1\n'), WAIT_OPTIONS);
    const created = await send(
      url,
      'mutation Make($title: String!) { createSession(input: { title: $title, key: "made" }) { created session { id } } }',
      { title: 'top secret' },
      { traceparent: `00-${TRACE_ID}-${CALLER_SPAN_ID}-01` },
    );
    expect(created).toMatchObject({ data: { createSession: { created: true } } });
    expect(await socket.next()).toMatchObject({ type: 'next' });
    const { id } = (created as { data: { createSession: { session: { id: string } } } }).data.createSession.session;
    await send(url, 'mutation Change($id: ID!) { updateSession(input: { id: $id, title: "secret, too" }) { session { id } } }', { id });
    await send(url, '{ sessions(first: 100000) { nodes { id } } }');
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);

    const spans = receiver.spans();
    expect(receiver.exports[0]).toMatchObject({ path: '/v1/traces', headers: { 'x-tenant': 'acme' } });
    expect(receiver.resource()).toMatchObject({
      'service.name': 'sessions-of-acme',
      'service.version': expect.any(String),
      'deployment.environment.name': 'test',
    });
    const mutation = spans.find(({ name }) => name === 'mutation');
    expect(mutation).toMatchObject({
      traceId: TRACE_ID,
      parentSpanId: CALLER_SPAN_ID,
      kind: SERVER,
      attributes: { 'graphql.operation.type': 'mutation', 'graphql.operation.name': 'Make' },
    });
    const statements = spans.filter(({ kind, traceId }) => kind === CLIENT && traceId === TRACE_ID);
    expect(statements.map(({ name }) => name).join('\n')).toMatch(/\bINSERT\b.*\bchat_sessions\b/);
    for (const { name, attributes } of statements) {
      expect(attributes).toMatchObject({ 'db.system.name': 'postgresql', 'db.query.summary': name });
    }
    const change = spans.find(({ attributes }) => attributes['graphql.operation.name'] === 'Change');
    const transaction = spans.find(({ name, parentSpanId }) => name === 'transaction' && parentSpanId === change?.spanId);
    expect(transaction).toMatchObject({ traceId: change?.traceId, kind: INTERNAL });
    const transactionStatements = spans.filter(({ parentSpanId }) => parentSpanId === transaction?.spanId).map(({ name }) => name);
    expect(transactionStatements.join('\n')).toMatch(/\bUPDATE chat_sessions\b/);

    const subscription = spans.find(({ name }) => name === 'subscription');
    expect(subscription).toMatchObject({
      traceId: OTHER_TRACE_ID,
      parentSpanId: CALLER_SPAN_ID,
      attributes: { 'graphql.operation.name': 'Live' },
    });
    const delivery = spans.find(({ name }) => name === 'subscription event');
    expect(delivery?.links).toMatchObject([{ traceId: OTHER_TRACE_ID, spanId: subscription?.spanId }]);
    expect(delivery?.traceId).not.toBe(OTHER_TRACE_ID);

    const refused = spans.find(({ attributes }) => attributes['error.type'] === 'PAGE_SIZE_TOO_LARGE');
    expect(refused).toMatchObject({ name: 'query', attributes: { 'sessiongraph.error_codes': ['PAGE_SIZE_TOO_LARGE'] } });
    expect(refused?.status.code ?? 0).toBe(0);

    for (const { body } of receiver.exports) expect(body.toString()).not.toContain('secret');
    const lines = operationLogLines(server.output());
    expect(lines.find(({ operation }) => operation === 'Make')).toMatchObject({ traceId: TRACE_ID });
    const exportedTraceIds = new Set(spans.map(({ traceId }) => traceId));
    for (const { traceId } of lines) expect(exportedTraceIds).toContain(traceId);
  });

  it('gives each of many concurrent operations its own statement spans', async () => {
    receiver = await startOtlpReceiver();
    const server = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' });
    const url = await server.ready();
    const query = 'query Together { sessions(first: 1) { totalCount nodes { id } } }';
    await Promise.all(Array.from({ length: 20 }, () => send(url, query)));
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    const spans = receiver.spans();
    const operations = spans.filter(({ attributes }) => attributes['graphql.operation.name'] === 'Together');
    expect(operations).toHaveLength(20);
    for (const { spanId } of operations) {
      expect(spans.filter(({ kind, parentSpanId }) => kind === CLIENT && parentSpanId === spanId)).toHaveLength(2);
    }
  });

  it('sends protobuf by default, and only the traces that the sampler keeps', async () => {
    receiver = await startOtlpReceiver();
    const server = start({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/elsewhere`,
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
    });
    const url = await server.ready();
    await send(url, 'query Dropped { serverInfo { version } }');
    await send(url, 'query Kept { serverInfo { version } }', {}, { traceparent: `00-${TRACE_ID}-${CALLER_SPAN_ID}-01` });
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    const [first] = receiver.exports;
    expect(first).toMatchObject({ path: '/elsewhere', headers: { 'content-type': 'application/x-protobuf' } });
    const bodies = Buffer.concat(receiver.exports.map(({ body }) => body));
    expect(bodies.includes('Kept')).toBe(true);
    expect(bodies.includes('Dropped')).toBe(false);
    expect(bodies.includes(Buffer.from(TRACE_ID, 'hex'))).toBe(true);
  });

  it('logs one warning if the collector is unreachable, and requests still succeed', async () => {
    const closedReceiver = await startOtlpReceiver();
    await closedReceiver.close();
    const server = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: closedReceiver.url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '200',
      OTEL_BSP_SCHEDULE_DELAY: '10',
    });
    const url = await server.ready();
    const failures = () => server.output().split('spans cannot be sent').length - 1;
    await vi.waitUntil(async () => {
      expect(await queryTypename(url)).toMatchObject({ data: { __typename: 'Query' } });
      return failures() > 0;
    }, WAIT_OPTIONS);
    for (let n = 0; n < 20; n += 1) await queryTypename(url);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(failures()).toBe(1);
  });

  it('does not block shutdown if the collector accepts requests and never responds', async () => {
    receiver = await startOtlpReceiver({ answers: false });
    const server = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    await queryTypename(await server.ready());
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(receiver.exports.length).toBeGreaterThan(0);
  });

  it('is off with OTEL_SDK_DISABLED=true', async () => {
    receiver = await startOtlpReceiver();
    const server = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_SDK_DISABLED: 'true' });
    await queryTypename(await server.ready());
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(receiver.exports).toEqual([]);
    const [line] = operationLogLines(server.output());
    expect(line).toHaveProperty('requestId');
    expect(line).not.toHaveProperty('traceId');
  });
});
