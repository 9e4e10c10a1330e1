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
interface Listed {
  apiKeys: {
    totalCount: number;
    nodes: { id: string; name: string; agentIds: string[] | null }[];
    pageInfo: { hasNextPage: boolean; endCursor: string };
  };
}

let app: TestApp;
let admin: TestKey;
/** May deal with the keys of agent `a`. */
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
const list = (variables: Record<string, unknown> = {}, { headers } = admin) => app.gql<Listed>(LIST, variables, { headers });
const revoke = (id: string, { headers } = admin) =>
  app.gql<{ revokeApiKey: { apiKey: { revokedAt: string } } }>(REVOKE, { id }, { headers });

describe('createApiKey', () => {
  it('gives the key and, this once, its secret', async () => {
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

  it('stores no secret, and logs none', async () => {
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
    // Normalised it would be `main`, another agent than was meant.
    [{ agentIds: ['a', '研究'] }, 'input.agentIds.1'],
    [{ expiresAt: '2020-01-01T00:00:00Z' }, 'input.expiresAt'],
  ])('refuses %j', async (input, field) => {
    expect((await create(input)).expectError('BAD_USER_INPUT').extensions.details.field).toBe(field);
  });

  it('gives no agents that its caller may not see', async () => {
    (await create({ agentIds: ['a', 'b'] }, bound)).expectError('FORBIDDEN');
    expect((await create({}, bound)).expectOk().createApiKey.apiKey.agentIds).toEqual(['a']);
  });
});

describe('apiKeys', () => {
  it('lists all keys, newest first, page by page', async () => {
    const whole = (await list({ first: 100 })).expectOk().apiKeys;
    expect(whole.totalCount).toBe(whole.nodes.length);
    const walked: string[] = [];
    for (let after: string | null = null; ; ) {
      const { nodes, pageInfo }: Listed['apiKeys'] = (await list({ first: 2, after })).expectOk().apiKeys;
      walked.push(...nodes.map(node => node.id));
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(walked).toEqual(whole.nodes.map(node => node.id));
    expect(walked.at(-1)).toBe(admin.id);
  });

  it('shows a caller bound to agents only keys bound to no others', async () => {
    const { totalCount, nodes } = (await list({ first: 100 }, bound)).expectOk().apiKeys;
    expect(totalCount).toBe(nodes.length);
    expect(new Set(nodes.map(node => node.agentIds?.join()))).toEqual(new Set(['a']));
  });
});

describe('node', () => {
  it('finds a key for those who may deal with it', async () => {
    const read = await makeKey(app, { scope: 'MANAGE', by: admin.secret });
    const find = async (key: TestKey, id: string) => (await app.gql(NODE, { id }, { headers: key.headers })).expectOk().node;
    expect(await find(admin, bound.id)).toEqual({ __typename: 'ApiKey', name: 'ADMIN a' });
    expect(await find(bound, bound.id)).not.toBeNull();
    expect(await find(bound, admin.id)).toBeNull();
    expect(await find(read, read.id)).toBeNull();
  });
});

describe('revokeApiKey', () => {
  it('revokes for good, once', async () => {
    const { id } = (await create({})).expectOk().createApiKey.apiKey;
    const { revokedAt } = (await revoke(id)).expectOk().revokeApiKey.apiKey;
    expect((await revoke(id)).expectOk().revokeApiKey.apiKey.revokedAt).toBe(revokedAt);
  });

  it('takes the bare id too', async () => {
    const { id } = (await create({})).expectOk().createApiKey.apiKey;
    (await revoke(Buffer.from(id, 'base64').toString().slice('ApiKey:'.length))).expectOk();
  });

  it('knows no key that may not be seen, and none that is not there', async () => {
    (await revoke(admin.id, bound)).expectError('API_KEY_NOT_FOUND');
    for (const id of ['nonsense', '01a1fc10-3f55-77df-984b-9c35f092922f', Buffer.from('Session:x').toString('base64')]) {
      (await revoke(id)).expectError('API_KEY_NOT_FOUND');
    }
  });
});

describe('a session', () => {
  it('is removed for good with ADMIN only', async () => {
    const manage = await makeKey(app, { scope: 'MANAGE', by: admin.secret });
    const { createSession } = (
      await app.gql<{ createSession: { session: { id: string } } }>('mutation { createSession(input: {}) { session { id } } }', undefined, {
        headers: manage.headers,
      })
    ).expectOk();
    const remove = ({ headers }: TestKey, permanent: boolean) =>
      app.gql(
        'mutation ($id: ID!, $permanent: Boolean) { deleteSession(input: { id: $id, permanent: $permanent }) { deletedId } }',
        { id: createSession.session.id, permanent },
        { headers },
      );
    expect((await remove(manage, true)).expectError('FORBIDDEN').extensions.details.requiredScope).toBe('ADMIN');
    (await remove(manage, false)).expectOk();
    (await remove(admin, true)).expectOk();
  });
});
