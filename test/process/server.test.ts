import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { isRunning } from '../../src/embedded/process-identity.ts';
import { createTestDatabase } from '../support/database.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { postgresPid, queryTypename, startServer, stopServers } from './server-process.ts';

let parent: string;
/** All tests share one data folder, so each starts on what the previous one left there. */
let folder: string;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
  // If root runs the tests, the account that runs Postgres must be able to pass through this folder.
  await chmod(parent, 0o711);
  folder = join(parent, 'my data');
});

afterEach(stopServers);

afterAll(() => rm(parent, { recursive: true, force: true }));

const start = (variables: Record<string, string> = {}) => startServer({ SESSIONGRAPH_DATA: folder, ...variables });

async function runningPostgres(): Promise<number> {
  const pid = await postgresPid(folder);
  if (pid === null || !isRunning(pid)) throw new Error('No Postgres is running.');
  return pid;
}

const RESPONSE = { data: { __typename: 'Query' } };

describe('the server process with the embedded Postgres', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('serves requests; on %s it stops Postgres and exits with code 0', async signal => {
    const server = start();
    expect(await queryTypename(await server.ready())).toMatchObject(RESPONSE);
    expect(server.output()).toContain(`embedded Postgres in ${folder}`);
    expect(server.output()).toContain('npm run seed');
    const postgres = await runningPostgres();
    server.kill(signal);
    expect(await server.ended()).toBe(0);
    expect(isRunning(postgres)).toBe(false);
    expect(await postgresPid(folder)).toBeNull();
  });

  it('treats two SIGINTs in a row, as npm and the terminal send them, as one', async () => {
    const server = start();
    await server.ready();
    server.kill('SIGINT');
    server.kill('SIGINT');
    expect(await server.ended()).toBe(0);
  });

  it('stops Postgres and exits with code 0 on a signal during the start', async () => {
    const server = start();
    await vi.waitUntil(async () => (await postgresPid(folder)) !== null, WAIT_OPTIONS);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(await postgresPid(folder)).toBeNull();
  });

  it('starts after a SIGKILL and replaces the Postgres that the killed server left running', async () => {
    const killed = start();
    await killed.ready();
    const orphan = await runningPostgres();
    killed.kill('SIGKILL');
    await killed.ended();
    expect(isRunning(orphan)).toBe(true);
    const next = start();
    expect(await queryTypename(await next.ready())).toMatchObject(RESPONSE);
    expect(isRunning(orphan)).toBe(false);
  });

  it('starts after both the server and Postgres were killed', async () => {
    const killed = start();
    await killed.ready();
    const postgres = await runningPostgres();
    killed.kill('SIGKILL');
    process.kill(postgres, 'SIGKILL');
    await killed.ended();
    const next = start();
    expect(await queryTypename(await next.ready())).toMatchObject(RESPONSE);
  });

  it('refuses to start a second server on the same data folder, and the first keeps serving', async () => {
    const first = start();
    const url = await first.ready();
    const second = start();
    expect(await second.ended()).toBe(1);
    expect(second.output()).toContain(`is in use by another Sessiongraph server (process ${first.pid}, running since`);
    expect(await queryTypename(url)).toMatchObject(RESPONSE);
  });

  it('waits until a server on the same data folder has drained, then starts', async () => {
    const first = start();
    await first.ready();
    first.kill('SIGTERM');
    const second = start();
    expect(await queryTypename(await second.ready())).toMatchObject(RESPONSE);
    expect(await first.ended()).toBe(0);
  });

  it('stops Postgres and names the port and the variable to change if the port is in use', async () => {
    const otherProgram = createServer().listen(0, '127.0.0.1');
    await once(otherProgram, 'listening');
    const address = otherProgram.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const server = start({ PORT: String(port) });
    expect(await server.ended()).toBe(1);
    expect(server.output()).toMatch(new RegExp(`Port ${port} on 127.0.0.1 is in use by another program. Choose another port.*PORT=`));
    expect(await postgresPid(folder)).toBeNull();
    otherProgram.close();
  });

  it('exits with code 1 if Postgres ends unexpectedly', async () => {
    const server = start();
    await server.ready();
    process.kill(await runningPostgres(), 'SIGKILL');
    expect(await server.ended()).toBe(1);
    expect(server.output()).toContain('The embedded Postgres ended unexpectedly');
  });
});

describe('the server process without the embedded Postgres', () => {
  it('migrates and serves the database of DATABASE_URL', async () => {
    const database = await createTestDatabase({ empty: true });
    const server = startServer({ DATABASE_URL: database.url });
    expect(await queryTypename(await server.ready())).toMatchObject(RESPONSE);
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    await database.close();
  });

  it('names a database that it cannot reach, without user and password', async () => {
    const server = startServer({ DATABASE_URL: 'postgres://ada:secret@127.0.0.1:1/sessions' });
    expect(await server.ended()).toBe(1);
    expect(server.output()).toMatch(/The database 127\.0\.0\.1:1\/sessions, named in DATABASE_URL, cannot be used: .*ECONNREFUSED/);
    expect(server.output()).not.toContain('secret');
  });

  it('lists every invalid environment variable', async () => {
    const server = startServer({ PORT: 'http', STALLED_AFTER: 'soon', HOST: 'a b', DATABASE_URL: 'mysql://x' });
    expect(await server.ended()).toBe(1);
    for (const name of ['PORT', 'STALLED_AFTER', 'HOST', 'DATABASE_URL']) expect(server.output()).toContain(`  ${name} `);
  });
});
