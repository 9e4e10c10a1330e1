import { EventSource } from 'eventsource';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import * as apollo from '../../docs/examples/apollo.ts';
import { followMessages as followByEvents } from '../../docs/examples/event-source.ts';
import { followMessages } from '../../docs/examples/graphql-ws.ts';
import { createLiveClient, isForbidden } from '../../docs/examples/live-client.ts';
import { LIST_QUERY, type ListRow, type ListVariables } from '../../docs/examples/live-list.ts';
import type { Message } from '../../docs/examples/messages.ts';
import * as urql from '../../docs/examples/urql.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type CuttingProxy, startCuttingProxy } from './cutting-proxy.ts';

let app: TestApp;
let proxy: CuttingProxy;
beforeAll(async () => {
  [app, proxy] = await Promise.all([startTestApp(), startCuttingProxy()]);
  proxy.leadTo(app.url);
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

/** What an example shows of the messages of a session. */
function follow(sessionId: string, options: { pingMs?: number; authorization?: () => string } = {}) {
  const seen: { contents: readonly string[] | null; readonly failures: unknown[] } = { contents: null, failures: [] };
  const show = (messages: Message[]) => {
    seen.contents = messages.map(({ content }) => content);
  };
  const live = createLiveClient({ url: proxy.webSocketUrl, webSocketImpl: WebSocket, ...options });
  stops.push(followMessages(live, sessionId, show, reason => void seen.failures.push(reason)));
  return seen;
}

describe('the client of the examples', () => {
  it('leaves a connection on which nothing comes through any more', async () => {
    const id = await createSession('Frozen');
    const seen = follow(id, { pingMs: 300 });
    await expect.poll(() => seen.contents).toEqual([]);
    proxy.freeze();
    await append(id, 'while frozen');
    await expect.poll(() => seen.contents).toEqual(['while frozen']);
    expect(seen.failures).toEqual([]);
  });

  it.each(['urql', 'Apollo Client'])('keeps a list as the query gives it, also after a cut, with %s', async name => {
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
    const asked = async () => {
      const answer = await app.gql<{ sessions: { nodes: ListRow[] } }>(LIST_QUERY, { ...variables });
      return answer.expectOk().sessions.nodes.map(({ title }) => title);
    };
    for (const title of ['one', 'two', 'three', 'four']) await createSession(`${title} for ${name}`);
    await expect.poll(titles).toEqual(await asked());
    proxy.cut();
    const last = await createSession(`five for ${name}`);
    await expect.poll(titles).toEqual(await asked());
    (await app.gql('mutation ($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }', { id: last })).expectOk();
    await expect.poll(titles).toEqual(await asked());
    expect(titles()[0]).toBe(`four for ${name}`);
    expect(failures).toEqual([]);
  });

  // The last one: from here on everyone needs a key.
  it('goes on with a renewed key, and gives up where none is good', async () => {
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
