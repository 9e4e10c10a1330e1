import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { PREPARED } from '../../src/postgres/database.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import type { GqlResponse } from '../support/graphql-response.ts';
import { runSql } from '../support/sql.ts';
import { findFreePort, findProgram, type ProxyProcess, startProxy, substitute } from './proxy-process.ts';

const EXAMPLES = new URL('../../docs/examples/', import.meta.url);
const CREATE = 'mutation ($title: String) { createSession(input: { title: $title }) { session { sessionId } } }';

const program = findProgram('pgbouncer');

/** Starts PgBouncer in front of a database as the recipe says, and returns the URL that leads through it. */
async function startPgBouncer(databaseUrl: string, mode: 'session' | 'transaction'): Promise<{ pgbouncer: ProxyProcess; url: URL }> {
  const direct = new URL(databaseUrl);
  const name = direct.pathname.slice(1);
  const settings = await readFile(new URL('pgbouncer.sql', EXAMPLES), 'utf8');
  await runSql(databaseUrl, substitute(settings, 'database sessiongraph ', `database "${name}" `));
  const port = await findFreePort();
  let recipe = await readFile(new URL('pgbouncer.ini', EXAMPLES), 'utf8');
  recipe = substitute(recipe, 'sessiongraph = host=127.0.0.1 port=5432', `${name} = host=${direct.hostname} port=${direct.port || 5432}`);
  recipe = substitute(recipe, 'listen_port = 6432', `listen_port = ${port}\nunix_socket_dir =`);
  recipe = substitute(recipe, '/etc/pgbouncer/userlist.txt', 'FOLDER/userlist.txt');
  recipe = substitute(recipe, 'pool_mode = session', `pool_mode = ${mode}`);
  const pgbouncer = await startProxy({
    program: String(program),
    // PgBouncer refuses to run as root, and then becomes the user named here.
    args: folder => [...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), `${folder}/pgbouncer.ini`],
    files: {
      'pgbouncer.ini': recipe,
      'userlist.txt': `"${decodeURIComponent(direct.username)}" "${decodeURIComponent(direct.password)}"\n`,
    },
    port,
  });
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  return { pgbouncer, url };
}

describe.runIf(program !== null)('the recipe for PgBouncer', () => {
  let database: TestDatabase;
  let pgbouncer: ProxyProcess;
  let url: URL;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    ({ pgbouncer, url } = await startPgBouncer(database.url, 'session'));
    app = await startTestApp({ databaseUrl: url.href });
  });
  afterAll(async () => {
    await app?.close();
    await pgbouncer?.stop();
    await database?.close();
  });

  it('gives connections the settings that the server needs', async () => {
    const names = ['timezone', 'jit', 'work_mem', 'default_transaction_isolation'];
    const settings = await Promise.all(names.map(async name => (await runSql(url.href, `show ${name}`))[0]));
    expect(Object.assign({}, ...settings)).toEqual({
      TimeZone: 'UTC',
      jit: 'off',
      work_mem: '32MB',
      default_transaction_isolation: 'read committed',
    });
  });

  it('serves concurrent writes, pages and both kinds of subscription', async () => {
    const events = 'subscription { sessionEvents(filter: { types: [CREATED] }) { session { title } } }';
    const streams = [await app.subscribe(events), await app.subscribe(events, {}, { over: 'sse' })];
    const titles = Array.from({ length: 30 }, (_, index) => `session ${index}`);
    const created = await Promise.all(titles.map(title => app.gql(CREATE, { title })));
    for (const response of created) response.expectOk();
    for (const stream of streams) {
      const delivered: unknown[] = [];
      for (const _ of titles) delivered.push((await stream.next()).sessionEvents);
      expect(new Set(delivered.map(event => JSON.stringify(event))).size).toBe(titles.length);
      await stream.close();
    }
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const PAGE = 'query ($after: String) { sessions(first: 7, after: $after) { nodes { title } pageInfo { endCursor hasNextPage } } }';
      const response: GqlResponse<Page> = await app.gql<Page>(PAGE, { after });
      const { nodes, pageInfo } = response.expectOk().sessions;
      seen.push(...nodes.map(({ title }) => title));
      after = pageInfo.hasNextPage ? pageInfo.endCursor : null;
    } while (after !== null);
    expect(seen.sort()).toEqual(titles.sort());
  });

  it('needs at most ten connections besides those for requests', async () => {
    const COUNT = `select count(*)::int as count from pg_stat_activity
      where datname = current_database() and starts_with(application_name, 'sessiongraph ')`;
    const [row] = await runSql<{ count: number }>(database.url, COUNT);
    expect(row?.count).toBeGreaterThan(4);
    expect(row?.count).toBeLessThanOrEqual(10);
  });

  it('leaves the server without warnings', () => {
    expect(app.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });
});

describe.runIf(program !== null)('PgBouncer in transaction mode', () => {
  it('passes statements and transactions on if prepared statements are off', async () => {
    const { url: direct, close } = await createTestDatabase();
    onTestFinished(close);
    const { pgbouncer, url } = await startPgBouncer(direct, 'transaction');
    onTestFinished(() => pgbouncer.stop());
    url.searchParams.set('pgbouncer', 'true');
    const database = createDatabase({ url: url.href, poolSize: 8, statementTimeoutMs: 30_000, onConnectionError: () => undefined });
    onTestFinished(() => database.close());
    const square = (number: number) =>
      Prisma.sql`${Prisma.raw(PREPARED)} select ${number}::int * ${number}::int as square, pg_sleep(0.01)::text`;
    const numbers = Array.from({ length: 40 }, (_, index) => index);
    const results = await Promise.all(
      numbers.map(number =>
        number % 2 === 0 ? database.rows(square(number)) : database.transaction(transaction => transaction.rows(square(number))),
      ),
    );
    expect(results).toMatchObject(numbers.map(number => [{ square: number * number }]));
  });
});

interface Page {
  readonly sessions: {
    readonly nodes: readonly { readonly title: string }[];
    readonly pageInfo: { readonly endCursor: string; readonly hasNextPage: boolean };
  };
}
