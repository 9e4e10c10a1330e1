import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { startServer, stopServers } from '../../process/server-process.ts';
import { createTestDatabase } from '../../support/database.ts';

afterEach(stopServers);

const WRITERS = 8;
const MESSAGES = 25;
const KILLED_AFTER = 60;

interface Answer {
  readonly data?: { readonly createSession?: { readonly session: { readonly id: string } } } | null;
  readonly errors?: readonly unknown[];
}

async function post(url: string, query: string, input: object): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables: { input } }),
  });
  return (await response.json()) as Answer;
}

const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { id } } }';
const APPEND = 'mutation ($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }';

it('a server killed at work loses nothing and writes nothing twice: its clients try again at another one', async () => {
  const database = await createTestDatabase();
  const servers = [startServer({ DATABASE_URL: database.url }), startServer({ DATABASE_URL: database.url })];
  const [doomed, other] = await Promise.all(servers.map(server => server.ready()));
  if (doomed === undefined || other === undefined) throw new Error('No servers.');
  const sessionId = (await post(other, CREATE, { title: 'survivor' })).data?.createSession?.session.id;
  let acknowledged = 0;
  let retried = 0;
  // All of them in one session, so that most of the calls under way wait in the midst of their transaction.
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let message = 0; message < MESSAGES; message += 1) {
      const input = { sessionId, message: { role: 'USER', content: `${writer}/${message}` }, idempotencyKey: randomUUID() };
      const first = await post(doomed, APPEND, input).catch(() => null);
      const answer = first ?? (await post(other, APPEND, input));
      if (first === null) retried += 1;
      expect(answer.errors).toBeUndefined();
      acknowledged += 1;
      if (acknowledged === KILLED_AFTER) servers[0]?.kill('SIGKILL');
    }
  });
  await Promise.all(writers);
  expect(retried).toBeGreaterThan(WRITERS);
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ content: string }>('select content from aria_engine.chat_messages order by content');
  const { rows: kept } = await client.query<{ count: number }>('select count(*)::int as count from aria_engine.idempotency_keys');
  await client.end();
  const all = Array.from({ length: WRITERS * MESSAGES }, (_, index) => `${Math.floor(index / MESSAGES)}/${index % MESSAGES}`);
  expect(rows.map(({ content }) => content).sort()).toEqual(all.sort());
  expect(kept[0]?.count).toBe(all.length);
  await stopServers();
  await database.close();
});
