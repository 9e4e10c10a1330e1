import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer, stopServers } from '../process/server-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { post } from '../support/http-client.ts';
import { residentMiB } from './resident-memory.ts';

const SESSIONS = 20;
const MESSAGES = 500;

/** Each round, this many concurrent requests each ask for up to 1 GB of messages. */
const CALLERS = 20;
const ROUNDS = 3;

/**
 * The limit of the process's resident memory, in MiB. All responses together may hold 128 MiB of rows, text and unsent bytes; the rest is
 * the process itself.
 */
const MAX_MIB = 1_500;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await stopServers();
  await database.close();
});

/** Stores 1 GB of message content. Returns the ids of the sessions. */
async function storeMessages(url: string): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < SESSIONS; i += 1) {
    const { body } = await post(url, { query: 'mutation { createSession(input: {}) { session { sessionId } } }' });
    ids.push((body.data as { createSession: { session: { sessionId: string } } }).createSession.session.sessionId);
  }
  const append = 'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { session { id } } }';
  for (const sessionId of ids) {
    for (let i = 0; i < MESSAGES / 100; i += 1) {
      const messages = Array.from({ length: 100 }, (_, j) => ({ role: 'USER', content: `message ${j}` }));
      expect((await post(url, { query: append, variables: { input: { sessionId, messages } } })).body.errors).toBeUndefined();
    }
  }
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await client.query("update aria_engine.chat_messages set content = repeat('x', 100000)");
  await client.end();
  return ids;
}

const LARGE_QUERIES: readonly ((ids: readonly string[]) => Record<string, unknown>)[] = [
  () => ({ query: `{ sessions(first: ${SESSIONS}) { nodes { messages(first: ${MESSAGES}) { nodes { content } } } } }` }),
  ids => ({
    query: `{ ${ids.map((id, i) => `a${i}: session(id: "${id}") { messages(first: ${60 + i}) { nodes { content } } }`).join(' ')} }`,
  }),
  ids => ({
    query: `query ($id: ID!) { session(id: $id) { messages(first: 30) { nodes { ${Array.from({ length: 90 }, (_, i) => `a${i}: content`).join(' ')} } } } }`,
    variables: { id: ids[0] },
  }),
];

it('a server stays below its memory limit, however many callers request too much data', async () => {
  const server = startServer({ DATABASE_URL: database.url, RATE_LIMIT_REQUESTS: '0' });
  const url = await server.ready();
  const ids = await storeMessages(url);
  const before = await residentMiB(server.pid);
  let highest = before;
  const codes = new Set<string | undefined>();
  const send = async (body: Record<string, unknown>) => {
    codes.add((await post(url, body)).body.errors?.[0]?.extensions.code);
    highest = Math.max(highest, await residentMiB(server.pid));
  };
  const timer = setInterval(async () => {
    highest = Math.max(highest, await residentMiB(server.pid));
  }, 50);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const largeQuery of LARGE_QUERIES) await Promise.all(Array.from({ length: CALLERS }, () => send(largeQuery(ids))));
  }
  clearInterval(timer);
  process.stdout.write(
    `resident: ${before.toFixed(0)} MiB before, at most ${highest.toFixed(0)} MiB; error codes: ${[...codes].join(', ')}\n`,
  );
  expect([...codes].filter(code => code !== 'QUERY_TOO_COMPLEX' && code !== 'SERVICE_UNAVAILABLE')).toEqual([]);
  expect(codes).toContain('QUERY_TOO_COMPLEX');
  expect(highest).toBeLessThan(MAX_MIB);
  const { body } = await post(url, {
    query: 'query ($id: ID!) { session(id: $id) { messages(first: 5) { nodes { content } } } }',
    variables: { id: ids[0] },
  });
  expect(body.errors).toBeUndefined();
});
