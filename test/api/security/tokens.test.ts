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
let otherKey: CryptoKey;
let app: TestApp;

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  signingKey = privateKey;
  otherKey = (await generateKeyPair('ES256')).privateKey;
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

const queryViewer = async (options: TokenOptions = {}, server = app) =>
  server.gql(VIEWER, undefined, { headers: { authorization: await token(options) } });

describe('a token of the identity provider', () => {
  it('grants the scopes and agents of its claims', async () => {
    expect((await queryViewer()).expectOk()).toEqual({ viewer: { name: 'ada', scopes: ['READ', 'WRITE'], agentIds: ['main'] } });
  });

  it('may list its scopes in an array, and may claim all agents with *', async () => {
    const claims = { scope: ['ADMIN', 'else'], agents: '*' };
    expect((await queryViewer({ claims })).expectOk()).toMatchObject({
      viewer: { scopes: ['READ', 'WRITE', 'MANAGE', 'ADMIN'], agentIds: null },
    });
  });

  it('sees no agents without the agents claim, and gets FORBIDDEN without the scope claim', async () => {
    expect((await queryViewer({ claims: { agents: undefined } })).expectOk()).toMatchObject({ viewer: { agentIds: [] } });
    expect((await queryViewer({ claims: { scope: undefined } })).expectError('FORBIDDEN').extensions.details).toEqual({
      requiredScope: 'READ',
      scopes: [],
    });
  });

  it('ignores agent names that are invalid', async () => {
    const claims = { agents: ['', '研究', '--', 'b'] };
    expect((await queryViewer({ claims })).expectOk()).toMatchObject({ viewer: { agentIds: ['b'] } });
  });

  it.each<[string, TokenOptions]>([
    ['from another issuer', { claims: { iss: 'https://evil.example.com' } }],
    ['for another audience', { claims: { aud: 'else' } }],
    ['without a subject', { claims: { sub: undefined } }],
    ['that never expires', { expires: null }],
    ['that has expired', { expires: 1 }],
  ])('%s gets UNAUTHORIZED', async (_which, options) => {
    (await queryViewer(options)).expectError('UNAUTHORIZED');
  });

  it('gets UNAUTHORIZED if it is signed with another key, unsigned, truncated or signed with a shared secret', async () => {
    (await queryViewer({ key: otherKey })).expectError('UNAUTHORIZED');
    const [header = '', payload = '', signature = ''] = (await token()).slice('Bearer '.length).split('.');
    const unsigned = Buffer.from('{"alg":"none"}').toString('base64url');
    const sharedSecret = Buffer.from('{"alg":"HS256","kid":"one"}').toString('base64url');
    for (const forged of [`${unsigned}.${payload}.`, `${header}.${payload}`, `${sharedSecret}.${payload}.${signature}`]) {
      (await app.gql(VIEWER, undefined, { headers: { authorization: `Bearer ${forged}` } })).expectError('UNAUTHORIZED');
    }
  });

  it('that expires ends its open subscriptions', async () => {
    // If the token expires before the subscription starts, the next one lives twice as long. The server allows a clock difference of five seconds.
    let ended: Record<string, unknown> | undefined;
    for (let secondsLeft = 4; ended === undefined; secondsLeft *= 2) {
      const authorization = await token({ expires: Math.floor(Date.now() / 1_000) + secondsLeft - 5 });
      const stream = await app.subscribe('subscription { sessionEvents { sessionId } }', undefined, { over: 'sse', authorization });
      const [error] = (await stream.nextResult())?.errors ?? [];
      if (error?.extensions?.code === 'UNAUTHORIZED') continue;
      ended = { message: error?.message, code: error?.extensions?.code, after: await stream.nextResult() };
    }
    expect(ended).toEqual({ message: 'The token has expired.', code: 'FORBIDDEN', after: null });
  });

  it('gets SERVICE_UNAVAILABLE while the keys of the identity provider cannot be read', async () => {
    const fresh = await startTestApp({ env: environment() });
    status = 500;
    expect((await queryViewer({}, fresh)).expectError('SERVICE_UNAVAILABLE').extensions.retryable).toBe(true);
    status = 200;
    (await queryViewer({}, fresh)).expectOk();
  });
});
