import { beforeAll, describe, expect, it } from 'vitest';
import { makeKey, type TestKey } from '../api/security/keys.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { runSql } from '../support/sql.ts';

const EVENTS = 'subscription { sessionEvents { sessionId } }';
const REVOKE = 'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { revokedAt } } }';
const KEYS = 20;
/** What the README promises. */
const MOST_MS = 1_000;

let servers: readonly TestApp[];
let admin: TestKey;
beforeAll(async () => {
  const app = await startTestApp();
  servers = [app, await app.startSecondServer()];
  admin = await makeKey(app, { scope: 'ADMIN' });
});

/** How long after the key was ended it let nobody in any more, and what it held open had ended, on every server. */
async function timeToEnd(end: (key: TestKey) => Promise<unknown>): Promise<number> {
  const [app] = servers;
  if (app === undefined) throw new Error('No server.');
  const key = await makeKey(app, { scope: 'READ', by: admin.secret });
  const { authorization } = key.headers;
  const streams = await Promise.all(servers.map(server => server.subscribe(EVENTS, undefined, { over: 'sse', authorization })));
  await end(key);
  const from = performance.now();
  for (const stream of streams) expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] });
  for (const server of servers) (await server.gql('{ viewer { name } }', undefined, { headers: key.headers })).expectError('UNAUTHORIZED');
  return performance.now() - from;
}

describe('a key that ends', () => {
  it.each<[string, (key: TestKey) => Promise<unknown>]>([
    ['is revoked', async ({ id }) => servers[0]?.gql(REVOKE, { id }, { headers: admin.headers })],
    [
      'is removed by hand, without a notification',
      ({ secret }) => runSql(String(servers[0]?.databaseUrl), `delete from aria_engine.api_keys where prefix = '${secret.slice(0, 11)}'`),
    ],
  ])('as it %s, lets nobody in a second later', async (_how, end) => {
    for (let count = 0; count < KEYS; count += 1) expect(await timeToEnd(end)).toBeLessThan(MOST_MS);
  });
});
