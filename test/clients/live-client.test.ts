import { EventSource } from 'eventsource';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import * as apollo from '../../docs/examples/apollo.ts';
import { followMessages as followByEvents } from '../../docs/examples/event-source.ts';
import { followMessages } from '../../docs/examples/graphql-ws.ts';
import { createLiveClient, isForbidden } from '../../docs/examples/live-client.ts';
import { LIST_QUERY, type ListRow, type ListVariables } from '../../docs/examples/live-list.ts';
import type { Message } from '../../docs/examples/messages.ts';
import { createRelayNetwork } from '../../docs/examples/relay.ts';
import * as urql from '../../docs/examples/urql.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type CuttingProxy, startCuttingProxy } from './cutting-proxy.ts';

let app: TestApp;
let proxy: CuttingProxy;
beforeAll(async () => {
  [app, proxy] = await Promise.all([startTestApp(), startCuttingProxy()]);
  proxy.forwardTo(app.url);
});
afterAll(() => proxy.close());

const stops: (() => unknown)[] = [];
afterAll(() => {
  for (const stop of stops) stop();
});

async function createSession(title: string, authorization?: string): Promise<string> {
  const CREATE = 'mutation ($title: String) { createSession(input: { title: $title }) { session { sessionId } } }';
  const answer = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    CREATE,
    { title },
    { headers: headersOf(authorization) },
  );
  return answer.expectOk().createSession.session.sessionId;
}

async function append(id: string, content: string, authorization?: string): Promise<void> {
  const APPEND =
    'mutation ($id: ID!, $content: String!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: $content } }) { message { id } } }';
  (await app.gql(APPEND, { id, content }, { headers: headersOf(authorization) })).expectOk();
}

function headersOf(authorization: string | undefined): Record<string, string> {
  return authorization === undefined ? {} : { authorization };
}

/** Runs the graphql-ws example, and records the messages it shows and its failures. */
function follow(sessionId: string, options: { pingMs?: number; authorization?: () => string } = {}) {
  const seen: { contents: readonly string[] | null; readonly failures: unknown[] } = { contents: null, failures: [] };
  const show = (messages: Message[]) => {
    seen.contents = messages.map(({ content }) => content);
  };
  const live = createLiveClient({ url: proxy.webSocketUrl, webSocketImpl: WebSocket, ...options });
  stops.push(followMessages(live, sessionId, show, reason => void seen.failures.push(reason)));
  return seen;
}

describe('createLiveClient', () => {
  it('replaces a connection that no longer transmits anything', async () => {
    const id = await createSession('Frozen');
    const seen = follow(id, { pingMs: 300 });
    await expect.poll(() => seen.contents).toEqual([]);
    proxy.freeze();
    await append(id, 'while frozen');
    await expect.poll(() => seen.contents).toEqual(['while frozen']);
    expect(seen.failures).toEqual([]);
  });

  it.each(['urql', 'Apollo Client'])('keeps a list equal to the query, also after a lost connection, with %s', async name => {
    const variables: ListVariables = { first: 3, orderBy: [{ field: 'CREATED_AT', direction: 'DESC' }] };
    const live = createLiveClient({ url: proxy.webSocketUrl, webSocketImpl: WebSocket });
    const failures: unknown[] = [];
    const fail = (reason: unknown) => void failures.push(reason);
    let shown: readonly ListRow[] = [];
    let rows: () => readonly ListRow[];
    if (name === 'urql') {
      rows = () => shown;
      const show = (list: readonly ListRow[]) => {
        shown = list;
      };
      stops.push(urql.watchList(urql.createUrqlClient(proxy.url, live), variables, show, fail));
    } else {
      const client = apollo.createApolloClient(proxy.url, live);
      rows = () => apollo.readList(client, variables);
      stops.push(apollo.watchList(client, variables, fail));
    }
    const titles = () => rows().map(({ title }) => title);
    const queried = async () => {
      const answer = await app.gql<{ sessions: { nodes: ListRow[] } }>(LIST_QUERY, { ...variables });
      return answer.expectOk().sessions.nodes.map(({ title }) => title);
    };
    for (const title of ['one', 'two', 'three', 'four']) await createSession(`${title} for ${name}`);
    await expect.poll(titles).toEqual(await queried());
    proxy.cut();
    const last = await createSession(`five for ${name}`);
    await expect.poll(titles).toEqual(await queried());
    (await app.gql('mutation ($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }', { id: last })).expectOk();
    await expect.poll(titles).toEqual(await queried());
    expect(titles()[0]).toBe(`four for ${name}`);
    expect(failures).toEqual([]);
  });

  it('runs queries and mutations of Relay', async () => {
    const live = createLiveClient({ url: proxy.webSocketUrl, webSocketImpl: WebSocket });
    const { fetchQuery } = createRelayNetwork(proxy.url, live);
    const id = await createSession('With Relay');
    const text = 'query ($id: ID!) { session(id: $id) { title } }';
    expect(await fetchQuery({ text, id: null }, { id })).toMatchObject({ data: { session: { title: 'With Relay' } } });
  });

  // The last test: it creates an API key, and from then on every request needs one.
  it('continues with a renewed key, and gives up when the key is rejected', async () => {
    const CREATE_KEY = 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret apiKey { id } } }';
    const createKey = async (scope: string, authorization?: string) => {
      const answer = await app.gql<{ createApiKey: { secret: string; apiKey: { id: string } } }>(
        CREATE_KEY,
        { input: { name: scope, scopes: [scope] } },
        { headers: headersOf(authorization) },
      );
      const { secret, apiKey } = answer.expectOk().createApiKey;
      return { bearer: `Bearer ${secret}`, id: apiKey.id };
    };
    const admin = (await createKey('ADMIN')).bearer;
    const [first, second] = [await createKey('READ', admin), await createKey('READ', admin)];
    const revoke = async (id: string) =>
      (
        await app.gql(
          'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { id } } }',
          { id },
          { headers: { authorization: admin } },
        )
      ).expectOk();
    const id = await createSession('Kept', admin);
    let bearer = first.bearer;
    const seen = follow(id, { authorization: () => bearer });
    await expect.poll(() => seen.contents).toEqual([]);
    bearer = second.bearer;
    await revoke(first.id);
    await append(id, 'with the second key', admin);
    await expect.poll(() => seen.contents).toEqual(['with the second key']);
    expect(seen.failures).toEqual([]);
    await revoke(second.id);
    await expect.poll(() => seen.failures.map(isForbidden)).toEqual([true]);

    const open = (authorization: string) => (address: string) =>
      new EventSource(address, { fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization } }) });
    const events: { contents: readonly string[]; readonly refusals: unknown[] } = { contents: [], refusals: [] };
    const show = (messages: Message[]) => {
      events.contents = messages.map(({ content }) => content);
    };
    const refuse = (reason: unknown) => void events.refusals.push(reason);
    stops.push(followByEvents(proxy.url, id, show, refuse, open(admin)), followByEvents(proxy.url, id, show, refuse, open(second.bearer)));
    await expect
      .poll(() => events)
      .toMatchObject({
        contents: ['with the second key'],
        refusals: [[{ extensions: { code: 'UNAUTHORIZED' } }]],
      });
  });
});
