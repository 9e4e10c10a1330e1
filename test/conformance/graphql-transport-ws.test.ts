import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAcknowledgedWebSocket, openRawWebSocket } from '../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../support/stub-server.ts';

let server: StubServer;
beforeAll(async () => {
  server = await startStubServer();
});
afterAll(() => server.close());

const subscribe = (id: string, query: string) => ({ id, type: 'subscribe', payload: { query } });

describe('connections over graphql-transport-ws', () => {
  it.each([
    ['a message that is not JSON', 'hello'],
    ['an unknown type', { type: 'hello' }],
    ['a message without a type', {}],
    ['an array', []],
    ['a subscribe without an id', { type: 'subscribe', payload: { query: '{ hello }' } }],
    ['a subscribe with an empty id', { id: '', type: 'subscribe', payload: { query: '{ hello }' } }],
    ['a subscribe without a payload', { id: '1', type: 'subscribe' }],
    ['a query that is not a string', { id: '1', type: 'subscribe', payload: { query: 7 } }],
    ['variables that are not an object', { id: '1', type: 'subscribe', payload: { query: '{ hello }', variables: 'a' } }],
    ['a complete without an id', { type: 'complete' }],
    ['a connection_init payload that is not an object', { type: 'connection_init', payload: 'a' }],
  ])('are closed with 4400 for %s', async (_what, message) => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(message);
    expect((await socket.closed).code).toBe(4400);
  });

  it('are closed with 4401 for a subscribe before connection_ack', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', '{ hello }'));
    expect(await socket.closed).toEqual({ code: 4401, reason: 'Unauthorized' });
  });

  it('are closed with 4406 if the client offers no subprotocol', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl, []);
    expect(await socket.closed).toEqual({ code: 4406, reason: 'Subprotocol not acceptable' });
  });

  it('fail in the handshake if the client offers only an unsupported subprotocol', async () => {
    await expect(openRawWebSocket(server.webSocketUrl, ['graphql-ws'])).rejects.toThrow('Server sent no subprotocol');
  });

  it('are closed with 4408 if the client sends no connection_init in time', async () => {
    const shortTimeoutServer = await startStubServer({ webSockets: { initTimeoutMs: 30 } });
    const socket = await openRawWebSocket(shortTimeoutServer.webSocketUrl);
    expect(await socket.closed).toEqual({ code: 4408, reason: 'Connection initialisation timeout' });
    await shortTimeoutServer.close();
  });

  it('are closed with 4409 for a subscribe with an id that is in use', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('same', 'subscription { never { n } }'));
    socket.send(subscribe('same', 'subscription { never { n } }'));
    expect(await socket.closed).toEqual({ code: 4409, reason: 'Subscriber for same already exists' });
  });

  it('are closed with 4429 for a second connection_init', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send({ type: 'connection_init' });
    expect(await socket.closed).toEqual({ code: 4429, reason: 'Too many initialisation requests' });
  });

  it('are closed with 4400 for message types that only a server sends', async () => {
    for (const message of [{ type: 'connection_ack' }, { id: '1', type: 'next', payload: { data: {} } }]) {
      const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
      socket.send(message);
      expect((await socket.closed).code).toBeGreaterThanOrEqual(4400);
    }
  });

  it('are closed with 1009 for a message larger than 4 MiB', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', `{ hello } # ${'x'.repeat(4 * 1024 * 1024)}`));
    expect((await socket.closed).code).toBe(1009);
  });

  it('are dropped (1006) if the client does not answer pings', async () => {
    const frequentPingServer = await startStubServer({ webSockets: { pingMs: 30 } });
    const socket = await openRawWebSocket(frequentPingServer.webSocketUrl, undefined, {}, { autoPong: false });
    expect((await socket.closed).code).toBe(1006);
    await frequentPingServer.close();
  });

  it.each([
    ['another path', '/other', {}, '404'],
    ['a page of another origin', '/graphql', { origin: 'https://example.com' }, '403'],
    ['an unknown host name', '/graphql', { host: 'rebound.example.com' }, '403'],
  ])('are refused in the handshake for %s', async (_what, path, headers, status) => {
    const url = new URL(path, server.webSocketUrl).href;
    await expect(openRawWebSocket(url, undefined, { ...headers })).rejects.toThrow(`Unexpected server response: ${status}`);
  });
});

describe('messages of graphql-transport-ws', () => {
  it('answer ping with pong and the same payload', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl);
    socket.send({ type: 'ping', payload: { a: 1 } });
    expect(await socket.next()).toEqual({ type: 'pong', payload: { a: 1 } });
    socket.send({ type: 'pong' });
    socket.send({ type: 'connection_init', payload: {} });
    expect(await socket.next()).toEqual({ type: 'connection_ack' });
    socket.close();
  });

  it('answer each query with next and complete, independently of other running operations', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('slow', 'mutation { waitForRelease }'));
    await server.waitForEvent('waiting for release');
    socket.send(subscribe('quick', '{ hello }'));
    expect(await socket.next()).toMatchObject({ id: 'quick', type: 'next', payload: { data: { hello: 'hello world' } } });
    expect(await socket.next()).toEqual({ id: 'quick', type: 'complete' });
    server.releaseMutation();
    expect(await socket.next()).toMatchObject({ id: 'slow', type: 'next', payload: { data: { waitForRelease: 'released' } } });
    expect(await socket.next()).toEqual({ id: 'slow', type: 'complete' });
    socket.close();
  });

  it('answer a request that cannot be executed with error only', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    const refused = [
      ['{ hallo }', 'GRAPHQL_VALIDATION_FAILED'],
      ['{', 'GRAPHQL_PARSE_FAILED'],
      ['fragment f on Query { hello }', 'GRAPHQL_VALIDATION_FAILED'],
      ['query a { hello } query b { hello }', 'BAD_USER_INPUT'],
    ];
    for (const [query = '', code] of refused) {
      socket.send(subscribe(query, query));
      expect(await socket.next()).toMatchObject({ id: query, type: 'error', payload: [{ extensions: { code } }] });
    }
    socket.send(subscribe('1', '{ hello }'));
    expect(await socket.next()).toMatchObject({ id: '1', type: 'next' });
    socket.close();
  });

  it('allow a client to use an id again after complete', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    for (let round = 0; round < 2; round += 1) {
      socket.send(subscribe('1', '{ hello }'));
      expect([(await socket.next()).type, (await socket.next()).type]).toEqual(['next', 'complete']);
    }
    socket.close();
  });

  it('contain no HTTP status', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', '{ hallo }'));
    expect(JSON.stringify(await socket.next())).not.toContain('"http"');
    socket.send(subscribe('2', '{ mustFail(how: "domain") }'));
    expect(JSON.stringify(await socket.next())).not.toContain('"http"');
    socket.close();
  });
});
