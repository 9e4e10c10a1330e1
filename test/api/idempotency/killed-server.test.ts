import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, expect, it } from 'vitest';
import { startServer, stopServers } from '../../process/server-process.ts';
import { createTestDatabase } from '../../support/database.ts';

afterEach(stopServers);

const WRITERS = 8;
const MESSAGES_PER_WRITER = 25;
/** The number of acknowledged messages at which the test kills the server. */
const KILL_AT = 60;

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

it('retries with the same idempotencyKey at another server lose and duplicate no message when a server is killed', async () => {
  const database = await createTestDatabase();
  const servers = [startServer({ DATABASE_URL: database.url }), startServer({ DATABASE_URL: database.url })];
  const [killed, other] = await Promise.all(servers.map(server => server.ready()));
  if (killed === undefined || other === undefined) throw new Error('The servers did not start.');
  const sessionId = (await post(other, CREATE, { title: 'survivor' })).data?.createSession?.session.id;
  let acknowledged = 0;
  let retried = 0;
  // All messages go to one session, so most calls are waiting for its lock inside their transaction when the server dies.
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let message = 0; message < MESSAGES_PER_WRITER; message += 1) {
      const input = { sessionId, message: { role: 'USER', content: `${writer}/${message}` }, idempotencyKey: randomUUID() };
      const first = await post(killed, APPEND, input).catch(() => null);
      const answer = first ?? (await post(other, APPEND, input));
      if (first === null) retried += 1;
      expect(answer.errors).toBeUndefined();
      acknowledged += 1;
      if (acknowledged === KILL_AT) servers[0]?.kill('SIGKILL');
    }
  });
  await Promise.all(writers);
  expect(retried).toBeGreaterThan(WRITERS);
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ content: string }>('select content from aria_engine.chat_messages order by content');
  const { rows: storedKeys } = await client.query<{ count: number }>('select count(*)::int as count from aria_engine.idempotency_keys');
  await client.end();
  const expected = Array.from(
    { length: WRITERS * MESSAGES_PER_WRITER },
    (_, index) => `${Math.floor(index / MESSAGES_PER_WRITER)}/${index % MESSAGES_PER_WRITER}`,
  );
  expect(rows.map(({ content }) => content).sort()).toEqual(expected.sort());
  expect(storedKeys[0]?.count).toBe(expected.length);
  await stopServers();
  await database.close();
});
