import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isRunning } from '../../src/embedded/process-identity.ts';
import { createTestDatabase } from '../support/database.ts';
import { askTypename, postgresPid, startServer, stopServers, until } from './server-process.ts';

let parent: string;
/** One folder for all: what a test leaves in it is the next one's beginning. */
let folder: string;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
  // Where root runs the tests, the account of Postgres has to come through.
  await chmod(parent, 0o711);
  folder = join(parent, 'my data');
});

afterEach(stopServers);

afterAll(() => rm(parent, { recursive: true, force: true }));

const start = (variables: Record<string, string> = {}) => startServer({ SESSIONGRAPH_DATA: folder, ...variables });

async function runningPostgres(): Promise<number> {
  const pid = await postgresPid(folder);
  if (pid === null || !isRunning(pid)) throw new Error('there is no Postgres running');
  return pid;
}

const ANSWER = { data: { __typename: 'Query' } };

describe('the server process on the embedded Postgres', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('serves, and on %s drains, stops Postgres and exits with 0', async signal => {
    const server = start();
    expect(await askTypename(await server.ready())).toMatchObject(ANSWER);
    expect(server.output()).toContain(`embedded Postgres in ${folder}`);
    expect(server.output()).toContain('npm run seed');
    const postgres = await runningPostgres();
    server.kill(signal);
    expect(await server.ended()).toBe(0);
    expect(isRunning(postgres)).toBe(false);
    expect(await postgresPid(folder)).toBeNull();
  });

  it('takes the signal twice in a row, as npm and the terminal send it, for one', async () => {
    const server = start();
    await server.ready();
    server.kill('SIGINT');
    server.kill('SIGINT');
    expect(await server.ended()).toBe(0);
  });

  it('stops cleanly where it is told to while it starts', async () => {
    const server = start();
    await until(async () => (await postgresPid(folder)) !== null);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(await postgresPid(folder)).toBeNull();
  });

  it('starts again after it was killed, past the Postgres that was left behind', async () => {
    const killed = start();
    await killed.ready();
    const orphan = await runningPostgres();
    killed.kill('SIGKILL');
    await killed.ended();
    expect(isRunning(orphan)).toBe(true);
    const next = start();
    expect(await askTypename(await next.ready())).toMatchObject(ANSWER);
    expect(isRunning(orphan)).toBe(false);
  });

  it('starts again after everything was killed', async () => {
    const killed = start();
    await killed.ready();
    const postgres = await runningPostgres();
    killed.kill('SIGKILL');
    process.kill(postgres, 'SIGKILL');
    await killed.ended();
    const next = start();
    expect(await askTypename(await next.ready())).toMatchObject(ANSWER);
  });

  it('leaves a second server on the same folder outside, and the first one serving', async () => {
    const first = start();
    const url = await first.ready();
    const second = start();
    expect(await second.ended()).toBe(1);
    expect(second.output()).toContain(`is in use by another Sessiongraph server (process ${first.pid}, running since`);
    expect(await askTypename(url)).toMatchObject(ANSWER);
  });

  it('waits for one that is draining', async () => {
    const first = start();
    await first.ready();
    first.kill('SIGTERM');
    const second = start();
    expect(await askTypename(await second.ready())).toMatchObject(ANSWER);
    expect(await first.ended()).toBe(0);
  });

  it('says whose fault it is where the port is taken, and stops Postgres', async () => {
    const stranger = createServer().listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const address = stranger.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const server = start({ PORT: String(port) });
    expect(await server.ended()).toBe(1);
    expect(server.output()).toMatch(new RegExp(`Port ${port} on 127.0.0.1 is in use by another program. Choose another port.*PORT=`));
    expect(await postgresPid(folder)).toBeNull();
    stranger.close();
  });

  it('gives up with exit code 1 where Postgres is gone', async () => {
    const server = start();
    await server.ready();
    process.kill(await runningPostgres(), 'SIGKILL');
    expect(await server.ended()).toBe(1);
    expect(server.output()).toContain('The embedded Postgres ended without having been told to');
  });
});

describe('the server process elsewhere', () => {
  it('serves on the Postgres of DATABASE_URL', async () => {
    const database = await createTestDatabase({ empty: true });
    const server = startServer({ DATABASE_URL: database.url });
    expect(await askTypename(await server.ready())).toMatchObject(ANSWER);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    await database.close();
  });

  it('names the database that it cannot reach, without the password', async () => {
    const server = startServer({ DATABASE_URL: 'postgres://ada:secret@127.0.0.1:1/sessions' });
    expect(await server.ended()).toBe(1);
    expect(server.output()).toMatch(/The database 127\.0\.0\.1:1\/sessions, named in DATABASE_URL, cannot be used: .*ECONNREFUSED/);
    expect(server.output()).not.toContain('secret');
  });

  it('lists every fault of the configuration', async () => {
    const server = startServer({ PORT: 'http', STALLED_AFTER: 'soon', HOST: 'a b', DATABASE_URL: 'mysql://x' });
    expect(await server.ended()).toBe(1);
    for (const name of ['PORT', 'STALLED_AFTER', 'HOST', 'DATABASE_URL']) expect(server.output()).toContain(`  ${name} `);
  });
});
