import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAcknowledgedWebSocket, openRawWebSocket } from '../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../support/stub-server.ts';

let server: StubServer;
beforeAll(async () => {
  server = await startStubServer();
});
afterAll(() => server.close());

const subscribe = (id: string, query: string) => ({ id, type: 'subscribe', payload: { query } });

describe('close codes of graphql-transport-ws', () => {
  it.each([
    ['no JSON', 'hello'],
    ['an unknown type', { type: 'hello' }],
    ['a message without a type', {}],
    ['an array', []],
    ['a subscribe without an id', { type: 'subscribe', payload: { query: '{ hello }' } }],
    ['a subscribe with an empty id', { id: '', type: 'subscribe', payload: { query: '{ hello }' } }],
    ['a subscribe without a payload', { id: '1', type: 'subscribe' }],
    ['a query that is no string', { id: '1', type: 'subscribe', payload: { query: 7 } }],
    ['variables that are no object', { id: '1', type: 'subscribe', payload: { query: '{ hello }', variables: 'a' } }],
    ['a complete without an id', { type: 'complete' }],
    ['a payload of connection_init that is no object', { type: 'connection_init', payload: 'a' }],
  ])('4400 for %s', async (_what, message) => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(message);
    expect((await socket.closed).code).toBe(4400);
  });

  it('4401 for a subscribe before the connection is acknowledged', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', '{ hello }'));
    expect(await socket.closed).toEqual({ code: 4401, reason: 'Unauthorized' });
  });

  it('4406 for a client that offers no subprotocol', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl, []);
    expect(await socket.closed).toEqual({ code: 4406, reason: 'Subprotocol not acceptable' });
  });

  it('no subprotocol for a client that offers another, which ends the handshake', async () => {
    await expect(openRawWebSocket(server.webSocketUrl, ['graphql-ws'])).rejects.toThrow('Server sent no subprotocol');
  });

  it('4408 for a client that does not initialise in time', async () => {
    const hasty = await startStubServer({ webSockets: { initTimeoutMs: 30 } });
    const socket = await openRawWebSocket(hasty.webSocketUrl);
    expect(await socket.closed).toEqual({ code: 4408, reason: 'Connection initialisation timeout' });
    await hasty.close();
  });

  it('4409 for an id that is in use', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('same', 'subscription { never { n } }'));
    socket.send(subscribe('same', 'subscription { never { n } }'));
    expect(await socket.closed).toEqual({ code: 4409, reason: 'Subscriber for same already exists' });
  });

  it('4429 for a second connection_init', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send({ type: 'connection_init' });
    expect(await socket.closed).toEqual({ code: 4429, reason: 'Too many initialisation requests' });
  });

  it('4400 for the types only a server sends', async () => {
    for (const message of [{ type: 'connection_ack' }, { id: '1', type: 'next', payload: { data: {} } }]) {
      const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
      socket.send(message);
      expect((await socket.closed).code).toBeGreaterThanOrEqual(4400);
    }
  });

  it('1009 for a message of more than 4 MiB', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', `{ hello } # ${'x'.repeat(4 * 1024 * 1024)}`));
    expect((await socket.closed).code).toBe(1009);
  });

  it('1006 for a client that answers no ping', async () => {
    const impatient = await startStubServer({ webSockets: { pingMs: 30 } });
    const socket = await openRawWebSocket(impatient.webSocketUrl, undefined, {}, { autoPong: false });
    expect((await socket.closed).code).toBe(1006);
    await impatient.close();
  });

  it.each([
    ['another path', '/other', {}, '404'],
    ['a page from elsewhere', '/graphql', { origin: 'https://example.com' }, '403'],
    ['a name that is not ours', '/graphql', { host: 'rebound.example.com' }, '403'],
  ])('no handshake for %s', async (_what, path, headers, status) => {
    const url = new URL(path, server.webSocketUrl).href;
    await expect(openRawWebSocket(url, undefined, { ...headers })).rejects.toThrow(`Unexpected server response: ${status}`);
  });
});

describe('messages of graphql-transport-ws', () => {
  it('answers ping with pong and its payload', async () => {
    const socket = await openRawWebSocket(server.webSocketUrl);
    socket.send({ type: 'ping', payload: { a: 1 } });
    expect(await socket.next()).toEqual({ type: 'pong', payload: { a: 1 } });
    socket.send({ type: 'pong' });
    socket.send({ type: 'connection_init', payload: {} });
    expect(await socket.next()).toEqual({ type: 'connection_ack' });
    socket.close();
  });

  it('answers a query with next and complete, many at once', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('held', 'mutation { waitForRelease }'));
    await server.waitForEvent('waiting for release');
    socket.send(subscribe('quick', '{ hello }'));
    expect(await socket.next()).toMatchObject({ id: 'quick', type: 'next', payload: { data: { hello: 'hello world' } } });
    expect(await socket.next()).toEqual({ id: 'quick', type: 'complete' });
    server.releaseMutation();
    expect(await socket.next()).toMatchObject({ id: 'held', type: 'next', payload: { data: { waitForRelease: 'released' } } });
    expect(await socket.next()).toEqual({ id: 'held', type: 'complete' });
    socket.close();
  });

  it('answers a request that cannot be run with error alone', async () => {
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

  it('lets an id be used again once it is complete', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    for (let round = 0; round < 2; round += 1) {
      socket.send(subscribe('1', '{ hello }'));
      expect([(await socket.next()).type, (await socket.next()).type]).toEqual(['next', 'complete']);
    }
    socket.close();
  });

  it('prints no status of HTTP', async () => {
    const socket = await openAcknowledgedWebSocket(server.webSocketUrl);
    socket.send(subscribe('1', '{ hallo }'));
    expect(JSON.stringify(await socket.next())).not.toContain('"http"');
    socket.send(subscribe('2', '{ mustFail(how: "domain") }'));
    expect(JSON.stringify(await socket.next())).not.toContain('"http"');
    socket.close();
  });
});
