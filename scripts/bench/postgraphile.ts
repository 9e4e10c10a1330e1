import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DedicatedConnection } from '../../src/postgres/dedicated-connection.ts';
import { CommandError } from '../command-line.ts';
import { encodePost, sendOnce } from './http-load.ts';
import type { MeasuredServer } from './measurement.ts';
import { processCpuMs } from './process-cpu.ts';
import type { Defer } from './scratch-database.ts';
import { POSTGRAPHILE_LIST } from './workload.ts';

/** PostGraphile needs Node 22 or newer; npm's package `node` brings one where this process is older. */
const MIN_NODE = 22;
const PACKAGES = { graphql: '16.12.0', pg: '8.16.3', postgraphile: '5.1.5' };
const NODE_PACKAGE = { node: '24.0.0' };

const SERVER = `
import { createServer } from 'node:http';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { postgraphile } from 'postgraphile';
const { DATABASE_URL, PORT, POOL } = process.env;
const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ connectionString: DATABASE_URL, schemas: ['plain'], poolConfig: { max: Number(POOL) } })],
  grafserv: { port: Number(PORT), graphqlPath: '/graphql', watch: false, websockets: false },
  grafast: { explain: false },
});
const server = createServer();
await instance.createServ(grafserv).addTo(server);
server.listen(Number(PORT), '127.0.0.1');
process.on('disconnect', () => process.exit());
`;

/** The tables that one would make for PostGraphile, with the rows that the other servers read. */
const TABLES = `
create schema plain;
create table plain.session as
  select s.id, s.title, s.status::text as status, s.kind::text as kind, s.agent_id, a.message_count, a.last_activity_at
  from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id where a.listed;
alter table plain.session add primary key (id);
create index on plain.session (last_activity_at desc, id desc);
create table plain.message as
  select m.id, m.session_id, m.position, m.role::text as role, m.content, m.created_at
  from aria_engine.chat_messages m join aria_engine.chat_sessions s on s.id = m.session_id join plain.session p on p.id = m.session_id
  where m.on_branch and m.position > s.compacted_through;
alter table plain.message add primary key (id), add foreign key (session_id) references plain.session (id);
create index on plain.message (session_id, position);
comment on table plain.session is E'@name session';
vacuum analyze plain.session, plain.message`;

/** Fills the tables that PostGraphile serves. */
export async function createPostgraphileTables(client: DedicatedConnection['client']): Promise<void> {
  for (const statement of TABLES.split(';')) await client.query(statement);
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sessiongraph', 'bench');
}

/**
 * Installs PostGraphile into the cache folder, once.
 * @returns the folder, and the program that runs it
 * @throws CommandError if npm fails, for example without a network
 */
function installPostgraphile(): { readonly folder: string; readonly node: string } {
  const folder = join(cacheFolder(), `postgraphile-${PACKAGES.postgraphile}`);
  const isNodeNewEnough = Number(process.versions.node.split('.')[0]) >= MIN_NODE;
  const node = isNodeNewEnough ? process.execPath : join(folder, 'node_modules', '.bin', 'node');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'server.mjs'), SERVER);
  if (existsSync(join(folder, 'node_modules', 'postgraphile')) && existsSync(node)) return { folder, node };
  const dependencies = isNodeNewEnough ? PACKAGES : { ...PACKAGES, ...NODE_PACKAGE };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--legacy-peer-deps'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const reason =
      error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n').slice(0, 3).join(' ') : String(error);
    throw new CommandError(`PostGraphile could not be installed into ${folder}: ${reason}`);
  }
  return { folder, node };
}

/**
 * Starts PostGraphile on the tables of `createPostgraphileTables`.
 * @throws CommandError if it cannot be installed or does not start
 */
export async function startPostgraphile(databaseUrl: string, poolSize: number, defer: Defer): Promise<MeasuredServer> {
  const { folder, node } = installPostgraphile();
  const port = await findFreePort();
  const env = { ...process.env, NODE_ENV: 'production', GRAPHILE_ENV: 'production', DATABASE_URL: databaseUrl, POOL: String(poolSize) };
  const child = spawn(node, [join(folder, 'server.mjs')], {
    env: { ...env, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const exited = once(child, 'exit');
  defer(async () => {
    if (child.connected) child.disconnect();
    await exited;
  });
  await waitUntilServed(child, port);
  return { port, cpuMs: async () => processCpuMs(child.pid ?? 0) ?? 0 };
}

const START_TIMEOUT_MS = 60_000;

async function waitUntilServed(child: ChildProcess, port: number): Promise<void> {
  const request = encodePost('/graphql', { query: '{ __typename }' });
  for (const deadline = performance.now() + START_TIMEOUT_MS; ; await delay(200)) {
    const isServed = await sendOnce(port, request).then(
      () => true,
      () => false,
    );
    if (isServed) return;
    if (child.exitCode !== null || performance.now() > deadline) throw new CommandError('PostGraphile did not start.');
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** PostGraphile's cursors behind the first pages of 20 sessions. */
export async function readPostgraphileCursors(port: number, pages: number): Promise<readonly string[]> {
  const query = `query Cursors($after: Cursor) { ${POSTGRAPHILE_LIST} { pageInfo { endCursor } } }`;
  const cursors: string[] = [];
  for (let page = 0; page < pages; page += 1) {
    const response = await sendOnce(port, encodePost('/graphql', { query, variables: { after: cursors.at(-1) } }));
    const { data } = response as { readonly data: { readonly allSessions: { readonly pageInfo: { readonly endCursor: string } } } };
    cursors.push(data.allSessions.pageInfo.endCursor);
  }
  return cursors;
}
