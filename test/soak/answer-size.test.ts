import { readFile } from 'node:fs/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer, stopServers } from '../process/server-process.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { post } from '../support/http-client.ts';

const SESSIONS = 20;
const MESSAGES = 500;

/** A GB of messages is asked for by so many at once, so many times. */
const CALLERS = 20;
const ROUNDS = 3;

/** What the process may take, in MiB: all answers together hold 128 MiB of bytes, as rows, text and what is sent; the rest is the process itself. */
const MAX_MIB = 1_500;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await stopServers();
  await database.close();
});

async function residentMiB(pid: number): Promise<number> {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / 1024;
}

/** 1 GB of content, in sessions of the API's making. */
async function fill(url: string): Promise<string[]> {
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

const BOMBS: readonly ((ids: readonly string[]) => Record<string, unknown>)[] = [
  () => ({ query: `{ sessions(first: ${SESSIONS}) { nodes { messages(first: ${MESSAGES}) { nodes { content } } } } }` }),
  ids => ({
    query: `{ ${ids.map((id, i) => `a${i}: session(id: "${id}") { messages(first: ${60 + i}) { nodes { content } } }`).join(' ')} }`,
  }),
  ids => ({
    query: `query ($id: ID!) { session(id: $id) { messages(first: 30) { nodes { ${Array.from({ length: 90 }, (_, i) => `a${i}: content`).join(' ')} } } } }`,
    variables: { id: ids[0] },
  }),
];

it('no number of callers who ask for too much takes the memory of the server', async () => {
  const server = startServer({ DATABASE_URL: database.url, RATE_LIMIT_REQUESTS: '0' });
  const url = await server.ready();
  const ids = await fill(url);
  const before = await residentMiB(server.pid);
  let most = before;
  const codes = new Set<string | undefined>();
  const ask = async (body: Record<string, unknown>) => {
    codes.add((await post(url, body)).body.errors?.[0]?.extensions.code);
    most = Math.max(most, await residentMiB(server.pid));
  };
  const timer = setInterval(async () => {
    most = Math.max(most, await residentMiB(server.pid));
  }, 50);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const bomb of BOMBS) await Promise.all(Array.from({ length: CALLERS }, () => ask(bomb(ids))));
  }
  clearInterval(timer);
  process.stdout.write(`resident: ${before.toFixed(0)} MiB before, at most ${most.toFixed(0)} MiB; answers: ${[...codes].join(', ')}\n`);
  expect([...codes].filter(code => code !== 'QUERY_TOO_COMPLEX' && code !== 'SERVICE_UNAVAILABLE')).toEqual([]);
  expect(codes).toContain('QUERY_TOO_COMPLEX');
  expect(most).toBeLessThan(MAX_MIB);
  const { body } = await post(url, {
    query: 'query ($id: ID!) { session(id: $id) { messages(first: 5) { nodes { content } } } }',
    variables: { id: ids[0] },
  });
  expect(body.errors).toBeUndefined();
});
