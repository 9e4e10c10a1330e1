import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { post } from '../support/http-client.ts';
import { openEventStream } from '../support/raw-event-stream.ts';
import { startServer, stopServers } from './server-process.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await stopServers();
  await database.close();
});

const CREATE = 'mutation ($title: String) { createSession(input: { title: $title }) { created } }';
const SUBSCRIPTION_QUERY = `?query=${encodeURIComponent('subscription { sessionEvents { session { title } } }')}`;

describe('a rolling deploy', () => {
  it('ends an event stream that the client resumes on another server without lost or repeated events', async () => {
    const variables = { DATABASE_URL: database.url, RATE_LIMIT_CREATIONS: '0' };
    const [old, next] = [startServer(variables), startServer(variables)];
    const [oldUrl, nextUrl] = await Promise.all([old.ready(), next.ready()]);
    const titles: string[] = [];
    let lastEventId = '';
    async function takeTitle(stream: Awaited<ReturnType<typeof openEventStream>>): Promise<void> {
      const { id, data } = await stream.next();
      lastEventId = id ?? '';
      titles.push(/"title":"([^"]+)"/.exec(data)?.[1] ?? data);
    }
    const create = async (title: string) =>
      expect((await post(nextUrl, { query: CREATE, variables: { title } })).body.errors).toBeUndefined();

    const stream = await openEventStream(`${oldUrl}${SUBSCRIPTION_QUERY}`);
    for (const title of ['a', 'b', 'c']) await create(title);
    for (let i = 0; i < 2; i += 1) await takeTitle(stream);
    old.kill('SIGTERM');
    await stream.ended;
    await create('d');
    expect(await old.ended()).toBe(0);

    const resumed = await openEventStream(`${nextUrl}${SUBSCRIPTION_QUERY}`, { 'last-event-id': lastEventId });
    await create('e');
    for (let i = 0; i < 3; i += 1) await takeTitle(resumed);
    resumed.abort();
    expect(titles).toEqual(['a', 'b', 'c', 'd', 'e']);
  });
});
