import { beforeAll, describe, expect, it } from 'vitest';
import { API_SCOPES, type ApiScope } from '../../../src/modules/viewer/viewer.rules.ts';
import { createSchema } from '../../../src/schema.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { openRawWebSocket } from '../../support/raw-websocket.ts';
import { runSql } from '../../support/sql.ts';
import { type RootOperation, rootOperations } from './generated-operations.ts';
import { makeKey, type TestKey } from './keys.ts';

/** The scope that each root field requires. */
const SCOPES: Readonly<Record<string, ApiScope>> = {
  ...withScope('READ', 'node nodes session sessions message searchMessages agents agent viewer serverInfo'),
  ...withScope('READ', 'sessionEvents sessionStatusChanged messageAdded sessionList'),
  ...withScope('WRITE', 'createSession updateSession endSession appendMessage appendMessages'),
  ...withScope('MANAGE', 'deleteSession restoreSession deleteMessage'),
  ...withScope('ADMIN', 'apiKeys createApiKey revokeApiKey'),
};

function withScope(scope: ApiScope, fields: string): Record<string, ApiScope> {
  return Object.fromEntries(fields.split(' ').map(field => [field, scope]));
}

/** A word in every text of agent `b`. */
const MARK = 'zebrafish';

const schema = createSchema();
const fields = rootOperations(schema, { byName: {}, text: MARK });

let app: TestApp;
let operations: ReadonlyMap<string, RootOperation>;
/** Keys bound to agent `a`. The operations name objects of agent `b`. */
let keys: Readonly<Record<ApiScope, TestKey>>;
/** Authorization headers that the server must reject, by description. */
let rejected: Readonly<Record<string, string | undefined>>;
/** Texts that may not occur in a response to a key of agent `a`. */
let traces: readonly string[];

beforeAll(async () => {
  app = await startTestApp({
    env: { MAX_QUERY_COST: '1000000000', RATE_LIMIT_MANAGEMENT: '0', RATE_LIMIT_CREATIONS: '0', RATE_LIMIT_REQUESTS: '0' },
  });
  const created = await app.gql<{ createSession: { session: { id: string; sessionId: string } } }>(
    /* GraphQL */ `mutation ($title: String!) {
      createSession(input: { agentId: "b", key: "secret", label: $title, title: $title, task: $title }) { session { id sessionId } }
    }`,
    { title: MARK },
  );
  const { id, sessionId } = created.expectOk().createSession.session;
  const appended = await app.gql<{ appendMessage: { message: { id: string; messageId: string } } }>(
    /* GraphQL */ `mutation ($sessionId: ID!, $content: String!) {
      appendMessage(input: { sessionId: $sessionId, message: { role: USER, content: $content, usage: { inputTokens: 77 } } }) { message { id messageId } }
    }`,
    { sessionId, content: MARK },
  );
  const { message } = appended.expectOk().appendMessage;

  const admin = await makeKey(app, { scope: 'ADMIN' });
  const entries: [ApiScope, TestKey][] = [];
  for (const scope of API_SCOPES) entries.push([scope, await makeKey(app, { scope, agentIds: ['a'], by: admin.secret })]);
  keys = Object.fromEntries(entries) as Record<ApiScope, TestKey>;
  const foreign = await makeKey(app, { scope: 'ADMIN', agentIds: ['b'], by: admin.secret });

  const revoked = await makeKey(app, { scope: 'ADMIN', by: admin.secret });
  await app.gql(
    'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } } }',
    { id: revoked.id },
    { headers: admin.headers },
  );
  const expired = await makeKey(app, { scope: 'ADMIN', by: admin.secret });
  const bare = Buffer.from(expired.id, 'base64').toString().split(':')[1];
  await runSql(app.databaseUrl, `update aria_engine.api_keys set expires_at = now() - interval '1 second' where id = '${bare}'`);
  rejected = {
    'no key': undefined,
    'a wrong key': `Bearer sg_${'A'.repeat(43)}`,
    'the prefix of a key with a wrong remainder': `Bearer ${admin.secret.slice(0, 11)}${'A'.repeat(35)}`,
    'text that is no key': 'Bearer nonsense',
    'another scheme': `Basic ${admin.secret}`,
    'a revoked key': revoked.headers.authorization,
    'an expired key': expired.headers.authorization,
  };
  traces = [MARK, sessionId, id, message.id, message.messageId, '"b"', ':77'];
  const byName = {
    id: `"${id}"`,
    ids: `"${id}", "${message.id}", "${Buffer.from('Agent:b').toString('base64')}", "${foreign.id}"`,
    sessionId: `"${id}"`,
    agentId: '"b"',
    key: '"agent:b:secret"',
    keys: '"agent:b:secret"',
    sessionIds: `"${id}"`,
    query: `"${MARK}"`,
    scopes: 'READ',
    name: '"a key"',
    content: `"${MARK}"`,
  };
  const messageId = `"${message.id}"`;
  const list = rootOperations(schema, { byName, text: MARK }).map(operation =>
    operation.field === 'message' ? { ...operation, document: operation.document.replace(`"${id}"`, messageId) } : operation,
  );
  operations = new Map(list.map(operation => [operation.field, operation]));
});

function operationOf(field: string): RootOperation {
  const operation = operations.get(field);
  if (operation === undefined) throw new Error(`There is no root field ${field}.`);
  return operation;
}

interface Outcome {
  readonly data: unknown;
  readonly code: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Sends the operation. For a subscription: its error, or no error if the stream has started. */
async function run({ type, document }: RootOperation, authorization: string | undefined): Promise<Outcome> {
  if (type !== 'subscription') {
    const { data, errors } = await app.gql(document, undefined, { headers: authorization === undefined ? {} : { authorization } });
    return { data, code: errors?.[0]?.extensions.code, details: errors?.[0]?.extensions.details ?? {} };
  }
  const stream = await app.subscribe(document, undefined, { over: 'sse', ...(authorization === undefined ? {} : { authorization }) });
  const started = app.app.events.gauges().subscriptions > 0;
  const error = started ? undefined : (await stream.nextResult())?.errors?.[0]?.extensions;
  await stream.close();
  await expect.poll(() => app.app.events.gauges().subscriptions).toBe(0);
  const details = error?.details;
  return {
    data: null,
    code: error?.code === undefined ? undefined : String(error.code),
    details: typeof details === 'object' ? { ...details } : {},
  };
}

describe('every root field', () => {
  it('has a scope in the table of this test, which names no other field', () => {
    expect(Object.keys(SCOPES).sort()).toEqual(fields.map(({ field }) => field).sort());
  });

  describe.each(fields.map(({ type, field }) => ({ type, field })))('$type $field', ({ field }) => {
    it('returns UNAUTHORIZED without a valid key', async () => {
      for (const [credential, authorization] of Object.entries(rejected)) {
        const { data, code } = await run(operationOf(field), authorization);
        expect({ credential, data: data ?? null, code }).toEqual({ credential, data: null, code: 'UNAUTHORIZED' });
      }
    });

    it('returns FORBIDDEN to keys without its scope and shows no data of another agent', async () => {
      const required = API_SCOPES.indexOf(SCOPES[field] ?? 'ADMIN');
      for (const [index, scope] of API_SCOPES.entries()) {
        const { data, code, details } = await run(operationOf(field), keys[scope].headers.authorization);
        const expected = index < required ? { code: 'FORBIDDEN', requiredScope: SCOPES[field] } : { requiredScope: undefined };
        expect({ scope, code, requiredScope: details.requiredScope }).toMatchObject({ scope, ...expected });
        expect(['UNAUTHORIZED', 'GRAPHQL_VALIDATION_FAILED', 'INTERNAL_SERVER_ERROR', 'QUERY_TOO_COMPLEX']).not.toContain(code);
        const shown = JSON.stringify(data ?? null);
        expect(traces.filter(trace => shown.includes(trace))).toEqual([]);
      }
    });
  });
});

describe('a WebSocket connection', () => {
  it('is closed with 4403 without a valid key', async () => {
    for (const authorization of Object.values(rejected)) {
      const socket = await openRawWebSocket(app.webSocketUrl);
      socket.send({ type: 'connection_init', payload: { authorization } });
      expect(await socket.closed).toEqual({ code: 4403, reason: 'UNAUTHORIZED' });
    }
  });

  it('accepts the key in the headers of the handshake', async () => {
    const socket = await openRawWebSocket(app.webSocketUrl, undefined, keys.READ.headers);
    socket.send({ type: 'connection_init' });
    expect(await socket.next()).toEqual({ type: 'connection_ack' });
    socket.send({ type: 'subscribe', id: '1', payload: { query: '{ viewer { scopes agentIds } }' } });
    expect(await socket.next()).toMatchObject({ payload: { data: { viewer: { scopes: ['READ'], agentIds: ['a'] } } } });
    socket.close();
  });
});

describe('the response to an unauthenticated request', () => {
  it.each([
    ['application/graphql-response+json', 401],
    ['application/json', 200],
  ])('for Accept: %s has status %d and WWW-Authenticate', async (accept, status) => {
    const response = await fetch(app.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept },
      body: JSON.stringify({ query: '{ nothing like the schema' }),
    });
    expect(response.status).toBe(status);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHORIZED', retryable: false } }] });
  });
});
