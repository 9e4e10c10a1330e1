import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey, type TestKey } from '../security/keys.ts';

const CREATE = /* GraphQL */ `
  mutation ($input: CreateApiKeyInput!) {
    createApiKey(input: $input) {
      secret
      apiKey { id name prefix scopes agentIds createdAt expiresAt lastUsedAt revokedAt }
    }
  }
`;
const LIST = /* GraphQL */ `
  query ($first: Int, $after: String) {
    apiKeys(first: $first, after: $after) { totalCount nodes { id name agentIds } pageInfo { hasNextPage endCursor } }
  }
`;
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { id revokedAt } } }';
const NODE = 'query ($id: ID!) { node(id: $id) { __typename ... on ApiKey { name } } }';

interface Created {
  createApiKey: { secret: string; apiKey: Record<string, unknown> & { id: string; prefix: string } };
}
interface ApiKeysResponse {
  apiKeys: {
    totalCount: number;
    nodes: { id: string; name: string; agentIds: string[] | null }[];
    pageInfo: { hasNextPage: boolean; endCursor: string };
  };
}

let app: TestApp;
let admin: TestKey;
/** An ADMIN key bound to agent `a`. */
let bound: TestKey;
beforeAll(async () => {
  app = await startTestApp({ env: { AUTH: 'required' } });
  const open = await app.startSecondServer({ env: { AUTH: 'off' } });
  admin = await makeKey(open, { scope: 'ADMIN', open: true });
  await open.close();
  bound = await makeKey(app, { scope: 'ADMIN', agentIds: ['a'], by: admin.secret });
});

const create = (input: Record<string, unknown>, { headers } = admin) =>
  app.gql<Created>(CREATE, { input: { name: 'ci', scopes: ['READ'], ...input } }, { headers });
const list = (variables: Record<string, unknown> = {}, { headers } = admin) => app.gql<ApiKeysResponse>(LIST, variables, { headers });
const revoke = (id: string, { headers } = admin) =>
  app.gql<{ revokeApiKey: { apiKey: { revokedAt: string } } }>(REVOKE, { id }, { headers });

describe('createApiKey', () => {
  it('returns the new key with its secret', async () => {
    const expiresAt = '2999-01-01T00:00:00.000Z';
    const input = { name: ' nightly ', scopes: ['WRITE', 'READ'], agentIds: ['Main', 'b'], expiresAt };
    const { secret, apiKey } = (await create(input)).expectOk().createApiKey;
    expect(secret).toMatch(/^sg_[\w-]{43}$/);
    expect(apiKey).toEqual({
      id: expect.any(String),
      name: 'nightly',
      prefix: secret.slice(0, 11),
      scopes: ['READ', 'WRITE'],
      agentIds: ['main', 'b'],
      createdAt: expect.any(String),
      expiresAt,
      lastUsedAt: null,
      revokedAt: null,
    });
  });

  it('neither stores nor logs the secret', async () => {
    const { secret } = (await create({})).expectOk().createApiKey;
    (await app.gql('{ viewer { name } }', undefined, { headers: { authorization: `Bearer ${secret}` } })).expectOk();
    const stored = JSON.stringify(app.sql.filter(({ sql }) => sql.includes('api_keys')));
    expect(stored).toContain(secret.slice(0, 11));
    expect(stored).not.toContain(secret.slice(11));
    expect(JSON.stringify(app.log)).not.toContain(secret.slice(11));
  });

  it.each([
    [{ name: ' ' }, 'input.name'],
    [{ scopes: [] }, 'input.scopes'],
    [{ agentIds: [] }, 'input.agentIds'],
    // '研究' would normalize to `main`, which is not the agent the caller named.
    [{ agentIds: ['a', '研究'] }, 'input.agentIds.1'],
    [{ expiresAt: '2020-01-01T00:00:00Z' }, 'input.expiresAt'],
  ])('rejects the input %j and names the field', async (input, field) => {
    expect((await create(input)).expectError('BAD_USER_INPUT').extensions.details.field).toBe(field);
  });

  it('returns FORBIDDEN for agents the caller may not see and defaults to the agents of the caller', async () => {
    (await create({ agentIds: ['a', 'b'] }, bound)).expectError('FORBIDDEN');
    expect((await create({}, bound)).expectOk().createApiKey.apiKey.agentIds).toEqual(['a']);
  });
});

describe('apiKeys', () => {
  it('returns all keys, newest first, across pages', async () => {
    const all = (await list({ first: 100 })).expectOk().apiKeys;
    expect(all.totalCount).toBe(all.nodes.length);
    const walked: string[] = [];
    for (let after: string | null = null; ; ) {
      const { nodes, pageInfo }: ApiKeysResponse['apiKeys'] = (await list({ first: 2, after })).expectOk().apiKeys;
      walked.push(...nodes.map(node => node.id));
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(walked).toEqual(all.nodes.map(node => node.id));
    expect(walked.at(-1)).toBe(admin.id);
  });

  it.each([
    ['infinity', 'all'],
    ['9999-12-31 23:59:59.999+00', 'all'],
    ['0001-01-01 00:00:00+00', 'none'],
  ])('accepts a forged cursor with the time %s and returns %s of the keys', async (instant, expected) => {
    const { totalCount, pageInfo } = (await list({ first: 1 })).expectOk().apiKeys;
    const [version, fingerprint, , id]: unknown[] = JSON.parse(Buffer.from(pageInfo.endCursor, 'base64url').toString());
    const after = Buffer.from(JSON.stringify([version, fingerprint, instant, id])).toString('base64url');
    const { nodes } = (await list({ first: 100, after })).expectOk().apiKeys;
    expect(nodes).toHaveLength(expected === 'all' ? totalCount : 0);
  });

  it('returns only keys bound to the agents of a caller who is bound to agents', async () => {
    const { totalCount, nodes } = (await list({ first: 100 }, bound)).expectOk().apiKeys;
    expect(totalCount).toBe(nodes.length);
    expect(new Set(nodes.map(node => node.agentIds?.join()))).toEqual(new Set(['a']));
  });
});

describe('node of an ApiKey', () => {
  it('returns the key to an ADMIN that may see its agents and null to other callers', async () => {
    const manage = await makeKey(app, { scope: 'MANAGE', by: admin.secret });
    const find = async (key: TestKey, id: string) => (await app.gql(NODE, { id }, { headers: key.headers })).expectOk().node;
    expect(await find(admin, bound.id)).toEqual({ __typename: 'ApiKey', name: 'ADMIN a' });
    expect(await find(bound, bound.id)).not.toBeNull();
    expect(await find(bound, admin.id)).toBeNull();
    expect(await find(manage, manage.id)).toBeNull();
  });
});

describe('revokeApiKey', () => {
  it('keeps the first revokedAt when the key is revoked again', async () => {
    const { id } = (await create({})).expectOk().createApiKey.apiKey;
    const { revokedAt } = (await revoke(id)).expectOk().revokeApiKey.apiKey;
    expect((await revoke(id)).expectOk().revokeApiKey.apiKey.revokedAt).toBe(revokedAt);
  });

  it('accepts a bare UUID', async () => {
    const { id } = (await create({})).expectOk().createApiKey.apiKey;
    (await revoke(Buffer.from(id, 'base64').toString().slice('ApiKey:'.length))).expectOk();
  });

  it('returns API_KEY_NOT_FOUND for keys the caller may not see and for unknown or malformed ids', async () => {
    (await revoke(admin.id, bound)).expectError('API_KEY_NOT_FOUND');
    for (const id of ['nonsense', '01a1fc10-3f55-77df-984b-9c35f092922f', Buffer.from('Session:x').toString('base64')]) {
      (await revoke(id)).expectError('API_KEY_NOT_FOUND');
    }
  });
});

describe('deleteSession with permanent: true', () => {
  it('requires the scope ADMIN', async () => {
    const manage = await makeKey(app, { scope: 'MANAGE', by: admin.secret });
    const { createSession } = (
      await app.gql<{ createSession: { session: { id: string } } }>('mutation { createSession(input: {}) { session { id } } }', undefined, {
        headers: manage.headers,
      })
    ).expectOk();
    const deleteSession = ({ headers }: TestKey, permanent: boolean) =>
      app.gql(
        'mutation ($id: ID!, $permanent: Boolean) { deleteSession(input: { id: $id, permanent: $permanent }) { deletedId } }',
        { id: createSession.session.id, permanent },
        { headers },
      );
    expect((await deleteSession(manage, true)).expectError('FORBIDDEN').extensions.details.requiredScope).toBe('ADMIN');
    (await deleteSession(manage, false)).expectOk();
    (await deleteSession(admin, true)).expectOk();
  });
});
