import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StartError } from '../../../src/errors.ts';
import { createPersistedDocuments, loadPersistedDocuments } from '../../../src/server/graphql/persisted-documents.ts';
import { post } from '../../support/http-client.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

const HELLO = 'query Hello($name: String) { hello(name: $name) }';
const TICKS = 'subscription Ticks { ticks(upTo: 2) { n } }';
const HASH = createHash('sha256').update(HELLO).digest('hex');
const TEXTS = new Map([
  [HASH, HELLO],
  ['ticks', TICKS],
]);
const BY_HASH = { persistedQuery: { version: 1, sha256Hash: HASH } };

let strict: StubServer;
let lenient: StubServer;
beforeAll(async () => {
  strict = await startStubServer({ documents: createPersistedDocuments(TEXTS, true) });
  lenient = await startStubServer({ documents: createPersistedDocuments(TEXTS, false) });
});
afterAll(() => Promise.all([strict.close(), lenient.close()]));

describe('a persisted document', () => {
  it.each([
    ['its hash in the extensions', { extensions: BY_HASH }],
    ['documentId', { documentId: HASH }],
    ['its text', { query: HELLO }],
    ['text and documentId', { query: HELLO, documentId: HASH }],
  ])('runs when the request names it by %s', async (_how, named) => {
    for (const server of [strict, lenient]) {
      const { status, body } = await post(server.url, { ...named, variables: { name: 'you' } });
      expect([status, body.data]).toEqual([200, { hello: 'hello you' }]);
    }
  });

  it.each([`documentId=${HASH}`, `extensions=${encodeURIComponent(JSON.stringify(BY_HASH))}`])(
    'runs over GET with ?%.20s',
    async parameters => {
      const response = await fetch(`${strict.url}?${parameters}`, { headers: { accept: 'application/json' } });
      expect(await response.json()).toMatchObject({ data: { hello: 'hello world' } });
    },
  );

  it('runs over SSE', async () => {
    const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
    const response = await fetch(strict.url, { method: 'POST', headers, body: JSON.stringify({ documentId: 'ticks' }) });
    const text = await response.text();
    expect(text).toContain('{"data":{"ticks":{"n":1}}}');
    expect(text).toContain('{"data":{"ticks":{"n":2}}}');
  });

  it.each([{ documentId: HASH }, { extensions: BY_HASH }])('runs over WebSocket with %j', async named => {
    const socket = await openAcknowledgedWebSocket(strict.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: '', ...named } });
    expect(await socket.next()).toMatchObject({ type: 'next', payload: { data: { hello: 'hello world' } } });
    socket.close();
  });
});

describe('a server that runs only persisted documents', () => {
  it.each([
    ['another text', { query: '{ hello }' }],
    ['a persisted text with an extra space', { query: `${HELLO} ` }],
    ['an unknown id', { documentId: 'other' }],
    ['an unknown hash', { extensions: { persistedQuery: { version: 1, sha256Hash: 'f'.repeat(64) } } }],
    ['another text under a known id', { query: '{ hello }', documentId: HASH }],
    ['a document that cannot be parsed', { query: '{' }],
    ['introspection', { query: '{ __schema { queryType { name } } }' }],
  ])('returns PERSISTED_QUERY_REQUIRED for %s', async (_what, request) => {
    const { status, body } = await post(strict.url, request);
    expect([status, body.errors?.[0]?.extensions.code, body.data]).toEqual([400, 'PERSISTED_QUERY_REQUIRED', undefined]);
    const socket = await openAcknowledgedWebSocket(strict.webSocketUrl);
    socket.send({ id: '1', type: 'subscribe', payload: { query: '', ...request } });
    expect(await socket.next()).toMatchObject({ type: 'error', payload: [{ extensions: { code: 'PERSISTED_QUERY_REQUIRED' } }] });
    socket.close();
  });

  it('returns PERSISTED_QUERY_REQUIRED for another subscription over SSE', async () => {
    const headers = { accept: 'text/event-stream' };
    const response = await fetch(`${strict.url}?query=${encodeURIComponent('subscription { ticks { n } }')}`, { headers });
    expect(await response.text()).toContain('PERSISTED_QUERY_REQUIRED');
    expect(strict.events).not.toContain('never started');
  });
});

describe('a server that also runs other documents', () => {
  it('returns BAD_USER_INPUT for an unknown documentId', async () => {
    const { status, body } = await post(lenient.url, { documentId: 'other' });
    expect([status, body.errors?.[0]?.extensions]).toEqual([
      400,
      expect.objectContaining({ code: 'BAD_USER_INPUT', details: { parameter: 'documentId' } }),
    ]);
  });

  it('runs another document', async () => {
    expect((await post(lenient.url, { query: '{ hello }' })).body.data).toEqual({ hello: 'hello world' });
  });
});

describe('loadPersistedDocuments', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessiongraph-documents-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function load(content: string) {
    const documentsFile = join(folder, 'documents.json');
    await writeFile(documentsFile, content);
    return loadPersistedDocuments({ documentsFile, only: true });
  }

  it('reads an object of texts by id', async () => {
    const documents = await load(JSON.stringify({ [HASH]: HELLO }));
    expect([documents.textFor({ documentId: HASH }), documents.has(HELLO), documents.has(TICKS)]).toEqual([HELLO, true, false]);
  });

  it('reads a manifest of Apollo Client', async () => {
    const operations = [{ id: HASH, body: HELLO, name: 'Hello', type: 'query' }];
    const documents = await load(JSON.stringify({ format: 'apollo-persisted-query-manifest', version: 1, operations }));
    expect(documents.textFor({ extensions: BY_HASH })).toBe(HELLO);
  });

  it.each(['', '[]', '{"a":1}', '{"format":"apollo-persisted-query-manifest"}'])(
    'rejects a file with the content %j with a StartError',
    async content => {
      const failure = load(content);
      await expect(failure).rejects.toThrow(StartError);
      await expect(failure).rejects.toThrow('PERSISTED_DOCUMENTS');
    },
  );

  it('rejects a missing file with a StartError', async () => {
    await expect(loadPersistedDocuments({ documentsFile: join(folder, 'none'), only: true })).rejects.toThrow(StartError);
  });
});
