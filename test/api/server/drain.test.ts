import { once } from 'node:events';
import { connect } from 'node:net';
import { createClient } from 'graphql-sse';
import { afterEach, describe, expect, it } from 'vitest';
import { post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket, openRawWebSocket } from '../../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let server: StubServer;
afterEach(() => server.close());

const subscribe = (id: string, query: string) => ({ id, type: 'subscribe', payload: { query } });

describe('closing the HTTP server', () => {
  it('lets running requests finish and accepts no new connections', async () => {
    server = await startStubServer();
    const answer = post(server.url, { query: 'mutation { waitForRelease }' });
    await server.waitForEvent('waiting for release');
    const closed = server.http.close();
    await expect(fetch(server.url)).rejects.toThrow();
    server.releaseMutation();
    expect((await answer).body).toMatchObject({ data: { waitForRelease: 'released' } });
    await closed;
  });

  it('ends event streams without a complete event, so clients reconnect', async () => {
    server = await startStubServer();
    const query = encodeURIComponent('subscription { never { n } }');
    const response = await fetch(`${server.url}?query=${query}`, { headers: { accept: 'text/event-stream' } });
    await server.waitForEvent('never started');
    await server.http.close();
    expect(await response.text()).toMatch(/^retry: \d+\n\n$/);
    expect(server.events).toContain('never aborted');
  });

  it('looks like a lost connection to graphql-sse', async () => {
    server = await startStubServer();
    const client = createClient({ url: server.url, retryAttempts: 0 });
    const next = client.iterate({ query: 'subscription { never { n } }' }).next();
    const lost = expect(next).rejects.toThrow('Connection closed while having active streams');
    await server.waitForEvent('never started');
    await server.http.close();
    await lost;
  });

  it('closes WebSockets with code 1001 without completing subscriptions', async () => {
    server = await startStubServer();
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    const idle = await openRawWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', 'subscription { never { n } }'));
    await server.waitForEvent('never started');
    const messages: unknown[] = [];
    void socket.next().then(message => messages.push(message));
    await server.http.close();
    expect((await socket.closed).code).toBe(1001);
    expect((await idle.closed).code).toBe(1001);
    expect(messages).toEqual([]);
    expect(server.events).toContain('never aborted');
  });

  it('sends the response of a running mutation over WebSocket before it closes the socket', async () => {
    server = await startStubServer();
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', 'mutation { waitForRelease }'));
    await server.waitForEvent('waiting for release');
    const closed = server.http.close();
    server.releaseMutation();
    expect(await socket.next()).toMatchObject({ id: '1', type: 'next', payload: { data: { waitForRelease: 'released' } } });
    expect(await socket.next()).toEqual({ id: '1', type: 'complete' });
    expect((await socket.closed).code).toBe(1001);
    await closed;
  });

  it('breaks connections that do not finish within drainTimeoutMs', async () => {
    server = await startStubServer({ drainTimeoutMs: 50 });
    const answer = post(server.url, { query: 'mutation { waitForRelease }' });
    answer.catch(() => undefined);
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    await server.waitForEvent('waiting for release');
    socket.send(subscribe('1', '{ waitForAbort }'));
    await server.waitForEvent('waiting');
    await server.http.close();
    await expect(answer).rejects.toThrow();
    expect((await socket.closed).code).toBe(1006);
    await server.waitForEvent('aborted');
    server.releaseMutation();
  });

  it('can be requested several times', async () => {
    server = await startStubServer();
    await Promise.all([server.http.close(), server.http.close()]);
    await server.http.close();
  });
});

describe('listen', () => {
  it('rejects with EADDRINUSE if the port is in use', async () => {
    server = await startStubServer();
    const other = await startStubServer();
    const port = Number(new URL(server.url).port);
    await other.close();
    await expect(other.http.listen(port, '127.0.0.1')).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

describe('a keep-alive connection', () => {
  it('is closed after its response when the server is closing', async () => {
    server = await startStubServer();
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    await once(socket, 'connect');
    const body = '{"query":"mutation { waitForRelease }"}';
    socket.write(
      `POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await server.waitForEvent('waiting for release');
    const closed = server.http.close();
    const ended = once(socket, 'close');
    socket.resume();
    server.releaseMutation();
    await Promise.all([closed, ended]);
  });

  it('does not delay the closing of the server if it has sent no request', async () => {
    server = await startStubServer({ drainTimeoutMs: 60_000 });
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    await once(socket, 'connect');
    // When a later connection has its response, the server has accepted this one.
    await post(server.url, { query: '{ hello }' });
    await Promise.all([server.http.close(), once(socket.resume(), 'close')]);
  });
});
