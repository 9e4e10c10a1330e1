import { beforeAll, describe, expect, it } from 'vitest';
import { makeKey, type TestKey } from '../api/security/keys.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { runSql } from '../support/sql.ts';

const EVENTS = 'subscription { sessionEvents { sessionId } }';
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } } }';
const KEYS = 20;
/** The limit that the documentation promises. */
const MAX_MS = 1_000;

let servers: readonly TestApp[];
let admin: TestKey;
beforeAll(async () => {
  const app = await startTestApp();
  servers = [app, await app.startSecondServer()];
  admin = await makeKey(app, { scope: 'ADMIN' });
});

/** Ends a key. Returns how long it takes until every server has ended its streams and refuses it, in milliseconds. */
async function measureEnd(endKey: (key: TestKey) => Promise<unknown>): Promise<number> {
  const [app] = servers;
  if (app === undefined) throw new Error('No server.');
  const key = await makeKey(app, { scope: 'READ', by: admin.secret });
  const { authorization } = key.headers;
  const streams = await Promise.all(servers.map(server => server.subscribe(EVENTS, undefined, { over: 'sse', authorization })));
  await endKey(key);
  const start = performance.now();
  for (const stream of streams) expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] });
  for (const server of servers) (await server.gql('{ viewer { name } }', undefined, { headers: key.headers })).expectError('UNAUTHORIZED');
  return performance.now() - start;
}

describe('an API key', () => {
  it.each<[string, (key: TestKey) => Promise<unknown>]>([
    ['a revocation', async ({ id }) => servers[0]?.gql(REVOKE, { id }, { headers: admin.headers })],
    [
      'the deletion of its row, which notifies no server',
      ({ secret }) => runSql(String(servers[0]?.databaseUrl), `delete from aria_engine.api_keys where prefix = '${secret.slice(0, 11)}'`),
    ],
  ])('gives no access one second after %s', async (_how, endKey) => {
    for (let count = 0; count < KEYS; count += 1) expect(await measureEnd(endKey)).toBeLessThan(MAX_MS);
  });
});
