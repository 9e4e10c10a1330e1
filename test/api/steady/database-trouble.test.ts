import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type RestartablePostgres, startRestartablePostgres } from './restartable-postgres.ts';
import { contentsOf, startWriteLoad, storedContents, type WriteLoad } from './write-load.ts';

const TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** A request waits for a connection, then runs for at most the request's time; the rest is for a slow machine. */
const BOUND_MS = CONNECT_TIMEOUT_MS + TIMEOUT_MS + 30_000;
const LIST = '{ sessions(first: 1) { nodes { id } } }';

let postgres: RestartablePostgres;
/** With time for all that a busy machine may be slow at. */
let patient: TestApp;
/** For requests that are to run out of time. */
let app: TestApp;
beforeAll(async () => {
  postgres = await startRestartablePostgres();
  patient = await startTestApp({ databaseUrl: postgres.url, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  app = await startTestApp({
    databaseUrl: postgres.url,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    env: { REQUEST_TIMEOUT: `${TIMEOUT_MS}ms` },
  });
});
afterAll(async () => {
  await app.close();
  await patient.close();
  await postgres.close();
});

const ready = async ({ url }: TestApp) => (await fetch(new URL('/readyz', url))).status;

async function expectKept(load: WriteLoad): Promise<void> {
  expect(new Set(load.outcomes.map(({ code }) => code))).toEqual(new Set(['OK', 'SERVICE_UNAVAILABLE']));
  const stored = await storedContents(postgres.url);
  expect(contentsOf(load.outcomes, 'OK').filter(content => !stored.has(content))).toEqual([]);
}

describe('a database that goes away under load', () => {
  it.each(['stop', 'crash'] as const)('by %s: every request is answered, no acknowledged write is lost, all goes on with it', async how => {
    const stream = await patient.subscribe('subscription { sessionEvents(filter: { types: [CREATED] }) { __typename } }');
    const load = await startWriteLoad(patient.url, { http: 6, ws: 2 });
    await load.more('OK', 100);
    await postgres[how]();
    await load.more('SERVICE_UNAVAILABLE', 50);
    expect(await ready(patient)).toBe(503);
    await postgres.start();
    await load.more('OK', 100);
    await load.stop();
    await expectKept(load);
    await expect.poll(() => ready(patient)).toBe(200);
    for (let session = 0; session < 8; session += 1) await stream.next();
    await patient.gql('mutation { createSession(input: { title: "after" }) { created } }');
    await stream.next();
    await stream.close();
    await expect.poll(() => patient.app.events.gauges().subscriptions).toBe(0);
  });
});

describe('a database that is silent', () => {
  it('costs each request its time and no more, and is used again when it speaks', async () => {
    (await app.gql(LIST)).expectOk();
    postgres.silence();
    const begun = performance.now();
    const answers = await Promise.all([app.gql(LIST), app.gql('mutation { createSession(input: {}) { created } }'), ready(app)]);
    expect(performance.now() - begun).toBeLessThan(BOUND_MS);
    for (const answer of answers.slice(0, 2)) expect(answer).toMatchObject({ errors: [{ extensions: { retryable: true } }] });
    expect(answers[2]).toBe(503);
    postgres.speak();
    (await app.gql(LIST)).expectOk();
    await expect.poll(() => ready(app)).toBe(200);
  });

  it('on the connections there are, for good: they are given up, and new ones made', async () => {
    const all = () => Promise.all(Array.from({ length: 10 }, () => app.gql('mutation { createSession(input: {}) { created } }')));
    for (const answer of await all()) answer.expectOk();
    postgres.strand();
    const retryable = (await all()).map(answer => answer.errors?.[0]?.extensions.retryable);
    expect(retryable).toContain(true);
    expect(retryable).not.toContain(false);
    await expect.poll(async () => (await all()).every(answer => answer.errors === undefined)).toBe(true);
  });
});

describe('a database without connections to give', () => {
  it('because the pool is held by waiting statements: the others are told in time, and served once it is free', async () => {
    // Who waits for a statement has two minutes, who waits for a connection five seconds: the code tells which it was.
    const small = await startTestApp({
      databaseUrl: postgres.url,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      env: { DATABASE_POOL: '2', REQUEST_TIMEOUT: '2m' },
    });
    const locker = new Client({ connectionString: postgres.url });
    await locker.connect();
    await locker.query('begin; lock table aria_engine.chat_sessions in access exclusive mode');
    // Two of the same would share a statement.
    const held = [small.gql(LIST), small.gql('{ sessions(first: 2) { nodes { id } } }')];
    await expect.poll(() => small.app.database.gauges()).toEqual({ total: 2, idle: 0, waiting: 0 });
    const others = await Promise.all([small.gql(LIST), small.gql(LIST), small.gql('mutation { createSession(input: {}) { created } }')]);
    for (const answer of others) expect(answer.expectError('SERVICE_UNAVAILABLE').extensions.retryable).toBe(true);
    // The database is well: another server would do no better.
    expect((await fetch(new URL('/readyz', small.url))).status).toBe(200);
    await locker.query('commit');
    await locker.end();
    for (const answer of await Promise.all(held)) answer.expectOk();
    (await small.gql(LIST)).expectOk();
    await small.close();
  });

  it('because the server takes no more: SERVICE_UNAVAILABLE until it does', async () => {
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

describe('a statement that waits too long', () => {
  it('is ended in the database too, and is REQUEST_TIMEOUT', async () => {
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
    const begun = performance.now();
    (await app.gql(write, { id: createSession.session.id })).expectError('REQUEST_TIMEOUT');
    expect(performance.now() - begun).toBeLessThan(BOUND_MS);
    const waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid()";
    await expect.poll(async () => (await locker.query(waiting)).rowCount).toBe(0);
    await locker.query('commit');
    await locker.end();
    (await app.gql(write, { id: createSession.session.id })).expectOk();
  });
});
