import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseEnv } from 'node:util';
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { followMessages } from '../../docs/examples/graphql-ws.ts';
import { createLiveClient } from '../../docs/examples/live-client.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { post } from '../support/http-client.ts';
import { ROOT } from './markdown.ts';

const PAGE = 'https://app.example.com';

let provider: Server;
let privateKey: CryptoKey;
let env: Readonly<Record<string, string>>;
let app: TestApp;

beforeAll(async () => {
  const keys = await generateKeyPair('RS256');
  privateKey = keys.privateKey;
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'RS256' };
  provider = createServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] })));
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  const variables = Object.entries(parseEnv(await readFile(`${ROOT}docs/examples/browser-app.env`, 'utf8')));
  env = Object.fromEntries(variables.map(([name, value]) => [name, value ?? '']));
  const { port } = provider.address() as AddressInfo;
  app = await startTestApp({ env: { ...env, HOST: '127.0.0.1', JWT_JWKS_URL: `http://127.0.0.1:${port}/keys` } });
});
afterAll(() => provider.close());

/** A token as the comments of the recipe describe it. */
async function bearer(): Promise<string> {
  const token = new SignJWT({ sub: 'ada', permissions: ['read', 'write'], agents: ['support'] });
  const signed = token
    .setProtectedHeader({ alg: 'RS256', kid: 'one' })
    .setIssuer(String(env.JWT_ISSUER))
    .setAudience(String(env.JWT_AUDIENCE));
  return `Bearer ${await signed.setExpirationTime('5m').sign(privateKey)}`;
}

describe('the recipe for a browser app with an identity provider', () => {
  it('lets the page of the app send requests with a token', async () => {
    const preflight = await fetch(app.url, {
      method: 'OPTIONS',
      headers: { origin: PAGE, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' },
    });
    expect(preflight.headers.get('access-control-allow-origin')).toBe(PAGE);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization');
    const headers = { origin: PAGE, authorization: await bearer() };
    const { body } = await post(app.url, { query: '{ viewer { name scopes agentIds rateLimits { name limit } } }' }, headers);
    expect(body.data?.viewer).toMatchObject({ name: 'ada', scopes: ['READ', 'WRITE'], agentIds: ['support'] });
    expect(body.data?.viewer).toMatchObject({ rateLimits: expect.arrayContaining([{ name: 'requests', limit: 600 }]) });
  });

  it('rejects other pages, and callers without a token', async () => {
    const other = await post(app.url, { query: '{ __typename }' }, { origin: 'https://other.example.com', authorization: await bearer() });
    expect(other.status).toBe(403);
    const anonymous = await post(app.url, { query: '{ __typename }' }, { origin: PAGE });
    expect(anonymous.status).toBe(401);
  });

  it('works with createLiveClient and a function that returns the token', async () => {
    const headers = { origin: PAGE, authorization: await bearer() };
    const CREATE = 'mutation { createSession(input: { title: "In the browser" }) { session { sessionId agentId } } }';
    const { createSession } = (await app.gql<Created>(CREATE, {}, { headers })).expectOk();
    expect(createSession.session.agentId).toBe('support');
    const live = createLiveClient({ url: app.webSocketUrl, webSocketImpl: WebSocket, authorization: bearer });
    let shown: readonly string[] | undefined;
    const show = (messages: readonly { readonly content: string }[]) => {
      shown = messages.map(({ content }) => content);
    };
    const stop = followMessages(live, createSession.session.sessionId, show, () => undefined);
    await expect.poll(() => shown).toEqual([]);
    const APPEND =
      'mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "Hello" } }) { message { id } } }';
    (await app.gql(APPEND, { id: createSession.session.sessionId }, { headers })).expectOk();
    await expect.poll(() => shown).toEqual(['Hello']);
    stop();
    await live.dispose();
  });
});

interface Created {
  readonly createSession: { readonly session: { readonly sessionId: string; readonly agentId: string } };
}
