import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../../src/config.ts';
import { StartError } from '../../../src/errors.ts';
import { startTestApp } from '../../support/app.ts';
import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { makeKey } from './keys.ts';

const VIEWER = '{ viewer { name scopes agentIds } }';
const ALL_SCOPES = ['READ', 'WRITE', 'MANAGE', 'ADMIN'];
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } } }';

describe('AUTH=auto on a loopback address', () => {
  it('needs no key until the first key is created, and requires one from then on, even after its revocation', async () => {
    const app = await startTestApp();
    expect(app.app.isOpen()).toBe(true);
    expect((await app.gql(VIEWER)).expectOk()).toEqual({ viewer: { name: 'local', scopes: ALL_SCOPES, agentIds: null } });
    const key = await makeKey(app, { scope: 'ADMIN' });
    await expect.poll(async () => (await app.gql(VIEWER)).errors?.[0]?.extensions.code).toBe('UNAUTHORIZED');
    expect((await app.gql(VIEWER, undefined, { headers: key.headers })).expectOk()).toMatchObject({ viewer: { scopes: ALL_SCOPES } });
    (await app.gql(REVOKE, { id: key.id }, { headers: key.headers })).expectOk();
    const { data } = await app.gql(VIEWER);
    expect(data ?? null).toBeNull();
    const restarted = await app.startSecondServer();
    expect(restarted.app.isOpen()).toBe(false);
    (await restarted.gql(VIEWER)).expectError('UNAUTHORIZED');
  });

  it('closes connections opened without a key when the first key is created', async () => {
    const app = await startTestApp();
    const socket = await openAcknowledgedWebSocket(app.webSocketUrl);
    const stream = await app.subscribe('subscription { sessionEvents { sessionId } }', undefined, { over: 'sse' });
    await makeKey(app, { scope: 'READ' });
    expect(await socket.closed).toEqual({ code: 4403, reason: 'FORBIDDEN' });
    expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] });
    expect(await stream.nextResult()).toBeNull();
  });

  it('ignores the Authorization header while there are no keys', async () => {
    const app = await startTestApp();
    expect((await app.gql(VIEWER, undefined, { headers: { authorization: 'Bearer whatever' } })).expectOk()).toMatchObject({
      viewer: { name: 'local' },
    });
  });
});

describe('AUTH=required', () => {
  it('returns UNAUTHORIZED even if there are no keys', async () => {
    const app = await startTestApp({ env: { AUTH: 'required' } });
    expect(app.app.isOpen()).toBe(false);
    (await app.gql(VIEWER)).expectError('UNAUTHORIZED');
    (await app.gql('{ __schema { queryType { name } } }')).expectError('UNAUTHORIZED');
  });
});

describe('AUTH=off', () => {
  it('needs no key; the server does not start if the database has a valid key', async () => {
    const app = await startTestApp({ env: { AUTH: 'off' } });
    const key = await makeKey(app, { scope: 'READ', open: true });
    expect((await app.gql(VIEWER)).expectOk()).toMatchObject({ viewer: { name: 'local' } });
    await expect(app.startSecondServer({ env: { AUTH: 'off' } })).rejects.toThrow(StartError);
    (await app.gql(REVOKE, { id: key.id })).expectOk();
    expect((await app.startSecondServer({ env: { AUTH: 'off' } })).app.isOpen()).toBe(true);
  });
});

describe('readConfig', () => {
  const jwt = { JWT_JWKS_URL: 'https://login.example.com/keys', JWT_ISSUER: 'https://login.example.com', JWT_AUDIENCE: 'sessiongraph' };

  it.each([
    [{}, 'auto'],
    [{ HOST: '::1' }, 'auto'],
    [{ HOST: '0.0.0.0' }, 'required'],
    [{ HOST: 'sessions.example.com', AUTH: 'auto' }, 'required'],
    [jwt, 'required'],
    [{ AUTH: 'off' }, 'off'],
    [{ AUTH: 'required' }, 'required'],
  ])('with %j sets the authentication mode %s', (env, mode) => {
    expect(readConfig(env).auth.mode).toBe(mode);
  });

  it.each([
    [{ HOST: '0.0.0.0', AUTH: 'off' }, 'AUTH must not be off if HOST is not a loopback address'],
    [{ ...jwt, AUTH: 'off' }, 'AUTH must not be off if JWT_JWKS_URL is set'],
    [{ JWT_ISSUER: 'x' }, 'JWT_JWKS_URL must be set if JWT_ISSUER is set'],
    [{ JWT_ISSUER: 'x' }, 'JWT_AUDIENCE must be set if JWT_ISSUER is set'],
    [{ ...jwt, JWT_JWKS_URL: 'http://login.example.com/keys' }, 'JWT_JWKS_URL must be an https:// URL'],
    [{ AUTH: 'sometimes' }, 'AUTH '],
  ])('with %j throws a ConfigError: %s', (env, fault) => {
    const read = () => readConfig(env);
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(fault);
  });
});
