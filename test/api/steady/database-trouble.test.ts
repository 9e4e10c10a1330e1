import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type RestartablePostgres, startRestartablePostgres } from './restartable-postgres.ts';
import { contentsOf, startWriteLoad, storedContents, type WriteLoad } from './write-load.ts';

const TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** A request waits for a connection and then runs for at most REQUEST_TIMEOUT. The rest is a margin for slow machines. */
const MAX_DURATION_MS = CONNECT_TIMEOUT_MS + TIMEOUT_MS + 30_000;
const LIST = '{ sessions(first: 1) { nodes { id } } }';

let postgres: RestartablePostgres;
/** A server with the default REQUEST_TIMEOUT, so that a busy machine causes no timeout. */
let defaultApp: TestApp;
/** A server with a REQUEST_TIMEOUT of TIMEOUT_MS. */
let app: TestApp;
beforeAll(async () => {
  postgres = await startRestartablePostgres();
  defaultApp = await startTestApp({ databaseUrl: postgres.url, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  app = await startTestApp({
    databaseUrl: postgres.url,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    env: { REQUEST_TIMEOUT: `${TIMEOUT_MS}ms` },
  });
});
afterAll(async () => {
  await app.close();
  await defaultApp.close();
  await postgres.close();
});

const readyStatus = async ({ url }: TestApp) => (await fetch(new URL('/readyz', url))).status;

/** Expects only success and SERVICE_UNAVAILABLE, and every acknowledged message in the database. */
async function expectNoLostWrites(load: WriteLoad): Promise<void> {
  expect(new Set(load.outcomes.map(({ code }) => code))).toEqual(new Set(['OK', 'SERVICE_UNAVAILABLE']));
  const stored = await storedContents(postgres.url);
  expect(contentsOf(load.outcomes, 'OK').filter(content => !stored.has(content))).toEqual([]);
}

describe('a database outage under load', () => {
  it.each(['stop', 'crash'] as const)(
    'by %s: every request gets a response, no acknowledged write is lost, and requests and subscriptions continue afterwards',
    async how => {
      const stream = await defaultApp.subscribe('subscription { sessionEvents(filter: { types: [CREATED] }) { __typename } }');
      const load = await startWriteLoad(defaultApp.url, { http: 6, ws: 2 });
      await load.waitForMore('OK', 100);
      await postgres[how]();
      await load.waitForMore('SERVICE_UNAVAILABLE', 50);
      expect(await readyStatus(defaultApp)).toBe(503);
      await postgres.start();
      await load.waitForMore('OK', 100);
      await load.stop();
      await expectNoLostWrites(load);
      await expect.poll(() => readyStatus(defaultApp)).toBe(200);
      for (let session = 0; session < 8; session += 1) await stream.next();
      await defaultApp.gql('mutation { createSession(input: { title: "after" }) { created } }');
      await stream.next();
      await stream.close();
      await expect.poll(() => defaultApp.app.events.gauges().subscriptions).toBe(0);
    },
  );
});

describe('a database that does not respond', () => {
  it('makes requests fail with a retryable error within their timeout, and is used again when it responds', async () => {
    (await app.gql(LIST)).expectOk();
    postgres.freeze();
    const start = performance.now();
    const answers = await Promise.all([app.gql(LIST), app.gql('mutation { createSession(input: {}) { created } }'), readyStatus(app)]);
    expect(performance.now() - start).toBeLessThan(MAX_DURATION_MS);
    for (const answer of answers.slice(0, 2)) expect(answer).toMatchObject({ errors: [{ extensions: { retryable: true } }] });
    expect(answers[2]).toBe(503);
    postgres.unfreeze();
    (await app.gql(LIST)).expectOk();
    await expect.poll(() => readyStatus(app)).toBe(200);
  });

  it('on existing connections is replaced by new connections', async () => {
    const createMany = () => Promise.all(Array.from({ length: 10 }, () => app.gql('mutation { createSession(input: {}) { created } }')));
    for (const answer of await createMany()) answer.expectOk();
    postgres.freezeConnections();
    const retryable = (await createMany()).map(answer => answer.errors?.[0]?.extensions.retryable);
    expect(retryable).toContain(true);
    expect(retryable).not.toContain(false);
    await expect.poll(async () => (await createMany()).every(answer => answer.errors === undefined)).toBe(true);
  });
});

describe('requests without a free connection', () => {
  it('return SERVICE_UNAVAILABLE after connectTimeoutMs while blocked statements use the pool, and succeed afterwards', async () => {
    // A statement may wait for two minutes, a connection for five seconds, so the error code shows what the request waited for.
    const small = await startTestApp({
      databaseUrl: postgres.url,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      env: { DATABASE_POOL: '2', REQUEST_TIMEOUT: '2m' },
    });
    const locker = new Client({ connectionString: postgres.url });
    await locker.connect();
    await locker.query('begin; lock table aria_engine.chat_sessions in access exclusive mode');
    // Two equal queries would share a statement.
    const blocked = [small.gql(LIST), small.gql('{ sessions(first: 2) { nodes { id } } }')];
    await expect.poll(() => small.app.database.gauges()).toEqual({ total: 2, idle: 0, waiting: 0 });
    const others = await Promise.all([small.gql(LIST), small.gql(LIST), small.gql('mutation { createSession(input: {}) { created } }')]);
    for (const answer of others) expect(answer.expectError('SERVICE_UNAVAILABLE').extensions.retryable).toBe(true);
    // /readyz stays 200 because the database responds. Another server would not help.
    expect((await fetch(new URL('/readyz', small.url))).status).toBe(200);
    await locker.query('commit');
    await locker.end();
    for (const answer of await Promise.all(blocked)) answer.expectOk();
    (await small.gql(LIST)).expectOk();
    await small.close();
  });

  it('return SERVICE_UNAVAILABLE while Postgres accepts no connections', async () => {
    const admin = new Client({ connectionString: postgres.url });
    await admin.connect();
    await admin.query("create role app login password 'app' in role pg_read_all_data, pg_write_all_data");
    const url = new URL(postgres.url);
    url.username = 'app';
    url.password = 'app';
    const limited = await startTestApp({ databaseUrl: url.href, connectTimeoutMs: CONNECT_TIMEOUT_MS });
    (await limited.gql(LIST)).expectOk();
    await admin.query('alter role app connection limit 0');
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'");
    const answers = await Promise.all(Array.from({ length: 5 }, () => limited.gql(LIST)));
    for (const answer of answers) {
      expect(answer.expectError('SERVICE_UNAVAILABLE').extensions.retryable).toBe(true);
      expect(JSON.stringify(answer.errors)).not.toMatch(/role|53300|connections/);
    }
    expect((await fetch(new URL('/readyz', limited.url))).status).toBe(503);
    await admin.query('alter role app connection limit -1');
    (await limited.gql(LIST)).expectOk();
    await limited.close();
    await admin.end();
  });
});

describe('a statement that exceeds REQUEST_TIMEOUT', () => {
  it('returns REQUEST_TIMEOUT and is cancelled in Postgres', async () => {
    const { createSession } = (
      await app.gql<{ createSession: { session: { id: string; sessionId: string } } }>(
        'mutation { createSession(input: {}) { session { id sessionId } } }',
      )
    ).expectOk();
    const locker = new Client({ connectionString: postgres.url });
    await locker.connect();
    await locker.query('begin');
    await locker.query('select 1 from aria_engine.chat_sessions where id = $1 for update', [createSession.session.sessionId]);
    const write =
      'mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "late" } }) { message { id } } }';
    const start = performance.now();
    (await app.gql(write, { id: createSession.session.id })).expectError('REQUEST_TIMEOUT');
    expect(performance.now() - start).toBeLessThan(MAX_DURATION_MS);
    const waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid()";
    await expect.poll(async () => (await locker.query(waiting)).rowCount).toBe(0);
    await locker.query('commit');
    await locker.end();
    (await app.gql(write, { id: createSession.session.id })).expectOk();
  });
});
