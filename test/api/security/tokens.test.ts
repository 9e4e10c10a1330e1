import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';

const ISSUER = 'https://login.example.com';
const VIEWER = '{ viewer { name scopes agentIds } }';

let provider: Server;
let status = 200;
let jwksUrl: string;
let signingKey: CryptoKey;
let strangersKey: CryptoKey;
let app: TestApp;

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  signingKey = privateKey;
  strangersKey = (await generateKeyPair('ES256')).privateKey;
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' };
  provider = createServer((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [jwk] }));
  });
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  jwksUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/keys`;
  app = await startTestApp({ env: environment() });
});
afterAll(() => {
  provider.close();
});

function environment() {
  return { JWT_JWKS_URL: jwksUrl, JWT_ISSUER: ISSUER, JWT_AUDIENCE: 'sessiongraph', JWT_AGENTS_CLAIM: 'agents' };
}

interface TokenOptions {
  readonly claims?: JWTPayload;
  readonly key?: CryptoKey;
  readonly expires?: string | number | null;
}

async function token({ claims = {}, key = signingKey, expires = '5m' }: TokenOptions = {}): Promise<string> {
  const payload = { iss: ISSUER, aud: 'sessiongraph', sub: 'ada', scope: 'openid write', agents: ['Main'], ...claims };
  const jwt = new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'one' });
  if (expires !== null) jwt.setExpirationTime(expires);
  return `Bearer ${await jwt.sign(key)}`;
}

const ask = async (options: TokenOptions = {}, server = app) =>
  server.gql(VIEWER, undefined, { headers: { authorization: await token(options) } });

describe('a token of the identity provider', () => {
  it('lets in with the scopes and agents it claims', async () => {
    expect((await ask()).expectOk()).toEqual({ viewer: { name: 'ada', scopes: ['READ', 'WRITE'], agentIds: ['main'] } });
  });

  it('may claim scopes as a list, and all agents', async () => {
    const claims = { scope: ['ADMIN', 'else'], agents: '*' };
    expect((await ask({ claims })).expectOk()).toMatchObject({ viewer: { scopes: ['READ', 'WRITE', 'MANAGE', 'ADMIN'], agentIds: null } });
  });

  it('sees nothing without the claim of agents, and may do nothing without that of scopes', async () => {
    expect((await ask({ claims: { agents: undefined } })).expectOk()).toMatchObject({ viewer: { agentIds: [] } });
    expect((await ask({ claims: { scope: undefined } })).expectError('FORBIDDEN').extensions.details).toEqual({
      requiredScope: 'READ',
      scopes: [],
    });
  });

  it('sees no agent by a claim that names none', async () => {
    const claims = { agents: ['', '研究', '--', 'b'] };
    expect((await ask({ claims })).expectOk()).toMatchObject({ viewer: { agentIds: ['b'] } });
  });

  it.each<[string, TokenOptions]>([
    ['of another issuer', { claims: { iss: 'https://evil.example.com' } }],
    ['for another audience', { claims: { aud: 'else' } }],
    ['that does not say whose it is', { claims: { sub: undefined } }],
    ['that never expires', { expires: null }],
    ['that has expired', { expires: 1 }],
  ])('%s is refused', async (_which, options) => {
    (await ask(options)).expectError('UNAUTHORIZED');
  });

  it('signed by a stranger, unsigned or cut is refused', async () => {
    (await ask({ key: strangersKey })).expectError('UNAUTHORIZED');
    const [header = '', payload = '', signature = ''] = (await token()).slice('Bearer '.length).split('.');
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    const shared = Buffer.from('{"alg":"HS256","kid":"one"}').toString('base64url');
    for (const forged of [`${none}.${payload}.`, `${header}.${payload}`, `${shared}.${payload}.${signature}`]) {
      (await app.gql(VIEWER, undefined, { headers: { authorization: `Bearer ${forged}` } })).expectError('UNAUTHORIZED');
    }
  });

  it('that expires ends what it holds open', async () => {
    // Where the time left was too short to subscribe, the next one has twice as much. Five seconds are forgiven, as clocks differ.
    let ended: Record<string, unknown> | undefined;
    for (let left = 4; ended === undefined; left *= 2) {
      const authorization = await token({ expires: Math.floor(Date.now() / 1_000) + left - 5 });
      const stream = await app.subscribe('subscription { sessionEvents { sessionId } }', undefined, { over: 'sse', authorization });
      const [error] = (await stream.nextResult())?.errors ?? [];
      if (error?.extensions?.code === 'UNAUTHORIZED') continue;
      ended = { message: error?.message, code: error?.extensions?.code, after: await stream.nextResult() };
    }
    expect(ended).toEqual({ message: 'The token has expired.', code: 'FORBIDDEN', after: null });
  });

  it('is for later where the keys of the provider cannot be read', async () => {
    const fresh = await startTestApp({ env: environment() });
    status = 500;
    expect((await ask({}, fresh)).expectError('SERVICE_UNAVAILABLE').extensions.retryable).toBe(true);
    status = 200;
    (await ask({}, fresh)).expectOk();
  });
});
