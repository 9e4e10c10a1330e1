import { createHook } from 'node:async_hooks';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { openRawWebSocket } from '../../support/raw-websocket.ts';
import { makeKey } from '../security/keys.ts';

/** Where each pending timer was set, also one that would not keep the process alive. */
const pending = new Map<number, string>();
const hook = createHook({
  init(id, type) {
    if (type === 'Timeout') pending.set(id, String(new Error('set').stack));
  },
  destroy: id => void pending.delete(id),
});

/** Whether code of the server, its packages or Node set the timer, not a client of the test. */
function isOfServer(stack: string): boolean {
  if (stack.includes('undici')) return false;
  const setter = stack.split('\n').find(line => line.includes('/') && !line.includes('node:') && !line.includes('AsyncHook'));
  return setter === undefined || !/node_modules\/(@?vitest|graphql-ws|graphql-sse)\/|\/test\//.test(setter);
}

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** Uses everything of the server that sets timers. */
async function use(app: TestApp): Promise<void> {
  const { secret, headers } = await makeKey(app, { scope: 'ADMIN' });
  const authorization = `Bearer ${secret}`;
  (await app.gql('mutation { createSession(input: { key: "a", idempotencyKey: "once" }) { created } }', {}, { headers })).expectOk();
  for (const over of ['ws', 'sse'] as const) {
    const events = await app.subscribe('subscription { sessionEvents { __typename } }', {}, { over, authorization });
    const list = await app.subscribe('subscription { sessionList { total } }', {}, { over, authorization });
    await list.next();
    (await app.gql('mutation { createSession(input: {}) { created } }', {}, { headers })).expectOk();
    await events.next();
    await list.next();
  }
  await openRawWebSocket(app.webSocketUrl);
  await (await fetch(new URL('/readyz', app.url))).text();
  await (await fetch(new URL('/metrics', app.url), { headers })).text();
}

it('leaves no timer and no handle behind when it is closed', async () => {
  const handles = process.getActiveResourcesInfo().sort();
  hook.enable();
  const limits = { RATE_LIMIT_REQUESTS: '1000', RATE_LIMIT_CREATIONS: '1000', AUTH: 'auto' };
  const app = await startTestApp({ databaseUrl: database.url, env: limits });
  await use(app);
  app.app.withdraw();
  await app.close();
  await expect.poll(() => [...pending.values()].filter(isOfServer), { timeout: 1_000 }).toEqual([]);
  hook.disable();
  await expect.poll(() => process.getActiveResourcesInfo().sort(), { timeout: 1_000 }).toEqual(handles);
});
