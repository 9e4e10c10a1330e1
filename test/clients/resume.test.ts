import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { findChromium } from '../support/chromium.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { runSql } from '../support/sql.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { type CuttingProxy, startCuttingProxy } from './cutting-proxy.ts';
import { type ExamplePage, NODE_CLIENTS, openExamplePage, type Shown, type StartedClient } from './started-clients.ts';

if (findChromium() === null)
  process.stderr.write('test/clients leaves out the browser: no Chromium is installed (Debian: apt-get install chromium).\n');

const BROWSER = 'EventSource in a browser';

/** How many new messages every client must show after each failure, before the next one. */
const PROGRESS = 3;

let database: TestDatabase;
let proxy: CuttingProxy;
let page: ExamplePage | null;
let writer: TestApp;
let sessionId: string;
let written = 0;
const clients = new Map<string, StartedClient>();
const servers = new Set<TestApp>();

async function startServer(): Promise<TestApp> {
  const app = await startTestApp({ databaseUrl: database.url, env: { CORS_ORIGINS: page?.origin ?? '' } });
  servers.add(app);
  return app;
}

async function append(): Promise<void> {
  const APPEND = `mutation ($id: ID!, $content: String!) {
    appendMessage(input: { sessionId: $id, message: { role: USER, content: $content } }) { message { position } }
  }`;
  (await writer.gql(APPEND, { id: sessionId, content: `message ${written + 1}` })).expectOk();
  written += 1;
}

async function shownBy(name: string): Promise<Shown> {
  const client = clients.get(name);
  if (client === undefined) throw new Error(`${name} was not started.`);
  return client.shown();
}

/** Waits until `count` more messages are written. */
async function waitForAppends(count: number): Promise<void> {
  const goal = written + count;
  await vi.waitUntil(() => written >= goal, WAIT_OPTIONS);
}

/** Waits until every client has shown all messages written so far, and `PROGRESS` more. */
async function waitForProgress(): Promise<void> {
  const goal = written + PROGRESS;
  for (const [name, client] of clients) {
    await expect.poll(async () => Math.max(0, ...(await client.shown()).last), { message: name }).toBeGreaterThanOrEqual(goal);
  }
}

/** Moves the writes to a new server. On return, the server before has no write in progress. */
async function moveWrites(): Promise<void> {
  writer = await startServer();
  await waitForAppends(2);
}

/** Runs `work` while messages are written continuously. */
async function whileWriting(work: () => Promise<void>): Promise<void> {
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      await append();
      await delay(10);
    }
  })();
  try {
    await Promise.race([work(), writing]);
  } finally {
    isOver = true;
    await writing;
  }
}

beforeAll(async () => {
  [database, proxy, page] = await Promise.all([createTestDatabase(), startCuttingProxy(), openExamplePage()]);
  writer = await startServer();
  proxy.forwardTo(writer.url);
  const CREATE = 'mutation { createSession(input: { title: "Followed" }) { session { sessionId } } }';
  sessionId = (await writer.gql<{ createSession: { session: { sessionId: string } } }>(CREATE)).expectOk().createSession.session.sessionId;
  for (const [name, start] of Object.entries(NODE_CLIENTS)) clients.set(name, await start(proxy, sessionId));
  if (page !== null) clients.set(BROWSER, await page.start(proxy.url, sessionId));
  for (const client of clients.values()) {
    await vi.waitUntil(async () => (await client.shown()).lengths.length === 1, WAIT_OPTIONS);
  }
});

afterAll(async () => {
  for (const client of clients.values()) await client.stop();
  await page?.close();
  await proxy.close();
  for (const app of servers) await app.close();
  await database.close();
});

describe('the client examples', () => {
  it('continue while connections break, servers are replaced, and the only server restarts', async () => {
    await whileWriting(async () => {
      await waitForProgress();
      for (let cuts = 0; cuts < 2; cuts += 1) {
        proxy.cut();
        await waitForProgress();
      }
      const old = writer;
      await moveWrites();
      proxy.forwardTo(writer.url);
      await old.close();
      await waitForProgress();
      const alone = writer;
      await moveWrites();
      proxy.forwardTo(null);
      await alone.close();
      await waitForAppends(PROGRESS);
      proxy.forwardTo(writer.url);
      await waitForProgress();
    });
    for (const [name, client] of clients) {
      await expect.poll(async () => (await client.shown()).last.length, { message: name }).toBe(written);
    }
  });

  describe.each([...Object.keys(NODE_CLIENTS), ...(findChromium() === null ? [] : [BROWSER])])('%s', name => {
    it('shows every message once, in order', async () => {
      const { last, lengths, failures } = await shownBy(name);
      const all = Array.from({ length: written }, (_, index) => index + 1);
      expect(last).toEqual(all);
      expect(lengths).toEqual([0, ...all]);
      expect(failures).toEqual([]);
    });
  });

  it('open the session again when the event log no longer reaches back to their cursor', async () => {
    proxy.forwardTo(null);
    proxy.cut();
    for (let count = 0; count < PROGRESS; count += 1) await append();
    // The missed messages must be in the log before it is shortened. Reading events puts them there.
    const EVENTS = 'query ($id: ID!) { session(id: $id) { events(last: 1) { pageInfo { endCursor } } } }';
    (await writer.gql(EVENTS, { id: sessionId })).expectOk();
    await runSql(database.url, 'update aria_engine.event_log_state set expired_seq = last_seq');
    proxy.forwardTo(writer.url);
    const newest = () => Array.from({ length: Math.min(written, 50) }, (_, index) => written - Math.min(written, 50) + 1 + index);
    for (const [name, client] of clients) {
      await expect.poll(async () => (await client.shown()).last, { message: name }).toEqual(newest());
    }
    await append();
    for (const [name, client] of clients) {
      await expect.poll(async () => (await client.shown()).last.at(-1), { message: name }).toBe(written);
      expect((await client.shown()).failures, name).toEqual([]);
    }
  });
});
