import { readFile } from 'node:fs/promises';
import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { getStatusWithHost, post } from '../support/http-client.ts';
import { openEventStream } from '../support/raw-event-stream.ts';
import { findFreePort, findProgram, type ProxyProcess, startProxy, substitute } from './proxy-process.ts';

const RECIPE = new URL('../../docs/examples/nginx.conf', import.meta.url);
const SUBSCRIPTION = 'subscription { sessionEvents { session { title } } }';
const CREATE = 'mutation ($title: String) { createSession(input: { title: $title }) { created } }';

/** What the main file of a Debian installation has around the files of conf.d, with its own folder for temporary files. */
const MAIN_FILE = `
daemon off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  include FOLDER/sessiongraph.conf;
}
`;

const program = findProgram('nginx');

describe.runIf(program !== null)('the recipe for nginx', () => {
  let database: TestDatabase;
  let first: TestApp;
  let second: TestApp;
  let nginx: ProxyProcess;
  let url: string;
  let headers: Record<string, string>;

  beforeAll(async () => {
    database = await createTestDatabase();
    first = await startTestApp({ databaseUrl: database.url });
    const CREATE_KEY = 'mutation { createApiKey(input: { name: "nginx", scopes: [ADMIN] }) { secret } }';
    const { createApiKey } = (await first.gql<{ createApiKey: { secret: string } }>(CREATE_KEY)).expectOk();
    headers = { authorization: `Bearer ${createApiKey.secret}` };
    second = await startTestApp({ databaseUrl: database.url });
    const port = await findFreePort();
    const servers = [first, second].map(app => `server ${new URL(app.url).host};`).join('\n  ');
    const recipe = substitute(await readFile(RECIPE, 'utf8'), 'server 127.0.0.1:4000;', servers);
    nginx = await startProxy({
      program: String(program),
      args: folder => ['-c', `${folder}/nginx.conf`],
      files: { 'nginx.conf': MAIN_FILE, 'sessiongraph.conf': substitute(recipe, 'listen 80;', `listen 127.0.0.1:${port};`) },
      port,
    });
    url = `http://127.0.0.1:${port}/graphql`;
  });
  afterAll(async () => {
    await nginx?.stop();
    await first?.close();
    await second?.close();
    await database?.close();
  });

  const create = async (title: string) =>
    expect(await post(url, { query: CREATE, variables: { title } }, headers)).toMatchObject({ status: 200, body: { data: {} } });

  it('passes queries, whatever host name the client uses', async () => {
    const { body } = await post(url, { query: '{ viewer { name } }' }, headers);
    expect(body.data).toEqual({ viewer: { name: 'nginx' } });
    // The server answers 403 to a request for a host that it does not accept.
    expect(await getStatusWithHost(`${url}?query={__typename}`, 'sessions.example.com')).toBe(200);
  });

  it('delivers each event of an event stream when it happens, and resumes the stream after Last-Event-ID', async () => {
    const address = `${url}?query=${encodeURIComponent(SUBSCRIPTION)}`;
    const stream = await openEventStream(address, headers);
    for (const title of ['one', 'two']) {
      await create(title);
      expect(JSON.parse((await stream.next()).data)).toEqual({ data: { sessionEvents: { session: { title } } } });
    }
    const lastEventId = String(stream.lastEventId());
    stream.abort();
    await create('three');
    const resumed = await openEventStream(address, { ...headers, 'last-event-id': lastEventId });
    expect((await resumed.next()).data).toContain('three');
    resumed.abort();
  });

  it('passes WebSockets', async () => {
    const client = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: headers });
    const events = client.iterate({ query: SUBSCRIPTION });
    const next = events.next();
    // A subscription starts after the WebSocket is open, so the first events may come too early for it.
    let isDelivered = false;
    void next.then(() => {
      isDelivered = true;
    });
    await expect
      .poll(async () => {
        await create('over WebSocket');
        return isDelivered;
      })
      .toBe(true);
    expect((await next).value).toEqual({ data: { sessionEvents: { session: { title: 'over WebSocket' } } } });
    await client.dispose();
  });

  it('leaves the answer to a request that is too large to the server', async () => {
    const { status, body } = await post(url, { query: `{ __typename } #${'x'.repeat(4 * 1024 * 1024)}` }, headers);
    expect([status, body.errors?.[0]?.extensions.code]).toEqual([413, 'REQUEST_TOO_LARGE']);
  });

  it('passes /readyz, and neither /metrics nor other paths', async () => {
    const statuses = ['/readyz', '/metrics', '/livez'].map(async path => (await fetch(new URL(path, url))).status);
    expect(await Promise.all(statuses)).toEqual([200, 404, 404]);
  });

  it('compresses JSON', async () => {
    const query = '{ __schema { types { name description } } }';
    const response = await fetch(`${url}?query=${encodeURIComponent(query)}`, { headers: { ...headers, accept: 'application/json' } });
    expect(response.headers.get('content-encoding')).toBe('gzip');
    expect(await response.json()).toMatchObject({ data: { __schema: {} } });
  });

  // The last test: it stops a server.
  it('uses the other server while one is down', async () => {
    await first.close();
    for (let count = 0; count < 4; count += 1) await create(`with one server ${count}`);
  });
});
