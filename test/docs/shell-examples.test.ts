import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readBenchArguments } from '../../scripts/bench/bench-arguments.ts';
import { startServer, stopServers } from '../process/server-process.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createFakeRedis, type FakeRedis } from '../support/fake-redis.ts';
import { runSql } from '../support/sql.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { ROOT, readPages } from './markdown.ts';
import { findProgram } from './proxy-process.ts';
import { parseCommands, type ShellCommand } from './shell-command.ts';

const curl = findProgram('curl');

/** The database of the commands. */
let database: TestDatabase;
/** The database of the servers. It has no API keys. */
let serverDatabase: TestDatabase;
let redis: FakeRedis;
let app: TestApp;
/** The home folder of the commands, with an OpenClaw folder. */
let home: string;
beforeAll(async () => {
  [database, serverDatabase, redis, app, home] = await Promise.all([
    createTestDatabase(),
    createTestDatabase(),
    createFakeRedis(),
    startTestApp(),
    mkdtemp(join(tmpdir(), 'sessiongraph-docs-')),
  ]);
  await redis.start();
  const sessions = join(home, '.openclaw/agents/main/sessions');
  await mkdir(sessions, { recursive: true });
  await cp(join(ROOT, 'docs/examples/transcript.jsonl'), join(sessions, '0198c0de-0000-4000-8000-000000000001.jsonl'));
});
afterAll(async () => {
  await stopServers();
  await app?.close();
  await redis?.stop();
  await database?.close();
  await serverDatabase?.close();
  await rm(home, { recursive: true, force: true });
});

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with the variables in addition to those of this process, and waits until it ends or `timeoutMs` have passed. */
function run(program: string, args: readonly string[], variables: Readonly<Record<string, string>>, timeoutMs = 0): Promise<Output> {
  return new Promise(resolve => {
    const env = { ...process.env, ...variables };
    const child = execFile(program, args, { cwd: ROOT, env, timeout: timeoutMs }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** Runs a script as `npm run` does, without building it first. `~` is the home folder. */
async function runScript(name: string, args: readonly string[], { url } = database): Promise<Output> {
  const words = args.map(arg => arg.replace(/^~\//, `${home}/`));
  const output = await run(process.execPath, ['--import', 'tsx', `scripts/${name}.ts`, ...words], { DATABASE_URL: url, LOG_LEVEL: 'warn' });
  expect(output, output.stderr).toMatchObject({ code: 0 });
  return output;
}

/** What the server printed, by the variables it was started with: several examples start it in the same way. */
const outputs = new Map<string, Promise<string>>();

/** Starts the server with the variables of an example, but with the addresses of the test, and stops it when it is ready. Returns its output. */
function startWith(env: Readonly<Record<string, string>>): Promise<string> {
  const redisUrl: Record<string, string> = env.REDIS_URL ? { REDIS_URL: redis.url } : {};
  const variables = { ...env, ...redisUrl, DATABASE_URL: serverDatabase.url, PORT: '0' };
  const key = JSON.stringify(variables);
  const output = outputs.get(key) ?? startAndStop(variables);
  outputs.set(key, output);
  return output;
}

async function startAndStop(variables: Record<string, string>): Promise<string> {
  const server = startServer(variables);
  await server.ready();
  server.kill('SIGTERM');
  expect(await server.ended()).toBe(0);
  return server.output();
}

async function runStart({ env }: ShellCommand): Promise<void> {
  const output = await startWith(env);
  expect(output).toContain('Sessiongraph is ready.');
}

async function runStartWithEnvFile(): Promise<void> {
  const variables = parseEnv(await readFile(join(ROOT, '.env.example'), 'utf8'));
  await startWith(Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value ?? ''])));
}

async function runSeed({ words }: ShellCommand): Promise<void> {
  if (words.includes('--live')) return runLiveSeed();
  // A few sessions are enough here: other tests write as many as the command does by default.
  const { stdout } = await runScript('seed', [...words.slice(words.indexOf('--') + 1 || words.length), '--sessions', '3']);
  expect(stdout).toContain('3 sessions');
}

/** Lets the seed change something, and then stops it as Ctrl-C does. */
async function runLiveSeed(): Promise<void> {
  const countEvents = async () =>
    (await runSql<{ count: number }>(database.url, 'select count(*)::int as count from aria_engine.session_events'))[0]?.count ?? 0;
  const args = ['--import', 'tsx', 'scripts/seed.ts', '--live', '--sessions', '3', '--pace', '50'];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, DATABASE_URL: database.url, LOG_LEVEL: 'warn' },
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  const before = await countEvents();
  await vi.waitUntil(async () => (await countEvents()) > before + 10, WAIT_OPTIONS);
  child.kill('SIGINT');
  expect(await exited).toEqual([0, null]);
}

async function runKey({ words: [, , , , verb = '', ...args] }: ShellCommand): Promise<void> {
  if (verb !== 'revoke') {
    const { stdout } = await runScript('key', [verb, ...args]);
    expect(stdout).toMatch(verb === 'create' ? /^sg_\S+$/m : /support-desk/);
    return;
  }
  const { stdout } = await runScript('key', ['create', '--name', 'revoked', '--scope', 'read']);
  const [prefix = ''] = args;
  expect((await runScript('key', ['revoke', stdout.slice(0, prefix.length)])).stdout).toContain('revoked');
}

async function runImport({ words: [, , , , ...args] }: ShellCommand): Promise<void> {
  await runScript('import-openclaw', args);
}

async function runCurl({ words: [, ...args], line }: ShellCommand): Promise<void> {
  if (curl === null) return;
  const address = app.url.replace('/graphql', '');
  const isStream = line.includes('text/event-stream');
  const options = args.map(arg => arg.replace('http://127.0.0.1:4000', address));
  const { stdout, code } = await run(curl, ['-s', ...options], {}, isStream ? 1_000 : undefined);
  if (isStream) expect(stdout).toMatch(/^retry: \d+\n/);
  else expect([code, stdout.includes('"errors"')]).toEqual([0, false]);
}

/** Docker does not run in tests. The files that the command names must exist. */
function checkDocker({ words }: ShellCommand): void {
  expect(existsSync(join(ROOT, 'Dockerfile'))).toBe(true);
  const script = words.map(word => /^\.build\/(scripts\/[\w-]+)\.js$/.exec(word)?.[1]).find(name => name !== undefined);
  if (words[1] === 'exec') expect(existsSync(join(ROOT, `${script}.ts`))).toBe(true);
}

/** Programs of Postgres, which need not be installed here. The files that the command reads must exist. */
function checkPostgresProgram({ words }: ShellCommand): void {
  const file = words[words.indexOf('-f') + 1];
  if (words.includes('-f')) expect(existsSync(join(ROOT, String(file)))).toBe(true);
}

/** Commands for developers: the tests themselves, and checks that .ci/run calls. */
async function checkDeveloperCommand({ words: [, first = '', second = ''] }: ShellCommand): Promise<void> {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  expect(Object.keys(scripts)).toContain(first === 'run' ? second : first);
}

/** Runs of single tests. The files that the command names must exist. */
function checkTestRun({ words }: ShellCommand): void {
  for (const path of words.filter(word => word.startsWith('test/'))) expect(existsSync(join(ROOT, path)), path).toBe(true);
}

/** How each command is tested, by the start of its words. The first match counts. */
/** The benchmark itself takes minutes; test/bench runs its workloads. */
function checkBench({ words }: ShellCommand): void {
  expect(() => readBenchArguments(words.slice(words.indexOf('--') + 1 || words.length))).not.toThrow();
}

const TESTS: readonly (readonly [start: string, test: (command: ShellCommand) => void | Promise<void>])[] = [
  ['npm start', runStart],
  ['node --env-file=.env scripts/start.mjs', runStartWithEnvFile],
  ['npm run bench', checkBench],
  ['npm run seed', runSeed],
  ['npm run key', runKey],
  ['npm run import:openclaw', runImport],
  ['npm ', checkDeveloperCommand],
  ['npx vitest run ', checkTestRun],
  ['curl ', runCurl],
  ['docker ', checkDocker],
  ['psql ', checkPostgresProgram],
  ['pg_dump ', checkPostgresProgram],
];

const pages = await readPages();
const commands = pages.flatMap(({ blocks }) =>
  blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text, place }) => parseCommands(text).map(command => [`${place} ${command.line}`, command] as const)),
);

describe('the shell examples of README.md and docs/', () => {
  it.each(commands)('%s', async (_name, command) => {
    const [, test] = TESTS.find(([start]) => command.words.join(' ').startsWith(start)) ?? [];
    if (test === undefined) throw new Error('No test knows this command.');
    await test(command);
  });
});

/** Returns the block of output that a page shows. */
function outputOf(path: string): string {
  return pages.find(page => page.path === path)?.blocks.find(({ language }) => language === 'text')?.text ?? '';
}

describe('the output', () => {
  it('of npm start is as README.md shows it', async () => {
    const normalize = (text: string) => text.replaceAll(/(:\/\/127\.0\.0\.1:)\d+/g, '$14000').replace(/ {2}Data .*/, '  Data');
    expect(normalize(await startWith({}))).toContain(normalize(outputOf('README.md')));
  });

  it('of an import is as docs/importing.md shows it', async () => {
    const empty = await createTestDatabase();
    const { stdout } = await runScript('import-openclaw', ['docs/examples/transcript.jsonl', '--agent', 'pi'], empty);
    await empty.close();
    expect(stdout.replace(ROOT, '/home/you/sessiongraph/').trim()).toBe(outputOf('docs/importing.md'));
  });
});
