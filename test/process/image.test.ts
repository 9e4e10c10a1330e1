import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { queryTypename, startServer, stopServers } from './server-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const runFile = promisify(execFile);

/** What the image adds to its base: see the COPY lines of the Dockerfile. */
const CONTENT = ['node_modules', '.build', 'package.json', 'prisma/migrations'];
const MAX_BYTES = 150_000_000;

let database: TestDatabase;
/** A folder with the content of the image, made with the commands of the Dockerfile. */
let image: string;

beforeAll(async () => {
  database = await createTestDatabase();
  execFileSync(process.execPath, ['scripts/setup.mjs'], { cwd: ROOT, stdio: 'ignore' });
  image = mkdtempSync(join(ROOT, '.build', 'image-'));
  linkFolder('node_modules');
  for (const folder of ['.build/src', '.build/scripts', '.build/pages', 'prisma/migrations']) linkFolder(folder);
  for (const file of ['package.json', 'package-lock.json', '.npmrc', 'node_modules/.package-lock.json']) copyFile(file);
  execFileSync(process.execPath, [join(ROOT, 'scripts/prune-packages.mjs')], { cwd: image, stdio: 'ignore' });
}, 120_000);

afterAll(async () => {
  await stopServers();
  rmSync(image, { recursive: true, force: true });
  await database.close();
});

/** Copies a folder of the clone with hard links, which costs neither time nor space. */
function linkFolder(path: string): void {
  const from = join(ROOT, path);
  mkdirSync(join(image, path), { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const name = join(path, entry.name);
    if (entry.isDirectory()) linkFolder(name);
    else if (entry.isSymbolicLink()) cpSync(join(ROOT, name), join(image, name), { verbatimSymlinks: true });
    else linkSync(join(ROOT, name), join(image, name));
  }
}

/** Copies a file. npm writes some files in place, so a link would change the clone. */
function copyFile(path: string): void {
  rmSync(join(image, path), { force: true });
  copyFileSync(join(ROOT, path), join(image, path));
}

function sizeOf(path: string): number {
  const stats = lstatSync(path);
  if (!stats.isDirectory()) return stats.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

interface LockedPackage {
  readonly dev?: true;
  readonly devOptional?: true;
  readonly peer?: true;
}

function lockedPackages(file: string): Readonly<Record<string, LockedPackage>> {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}

/** The command of the image's health check. */
function healthCheck(): readonly [string, ...string[]] {
  const command = /^HEALTHCHECK[^[]*(\[.*\])$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8').replaceAll('\\\n', ''))?.[1];
  return JSON.parse(command ?? '[]');
}

/** Exit code of the health check for a server on this port. */
async function healthOf(port: string): Promise<number> {
  const [command, ...words] = healthCheck();
  const environment = { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: port };
  return runFile(command, words, { env: environment }).then(
    () => 0,
    error => error.code,
  );
}

describe('the image', () => {
  it('has no package that only the build and the tests need', () => {
    const all = lockedPackages(join(ROOT, 'package-lock.json'));
    const needless = Object.keys(lockedPackages(join(image, 'node_modules/.package-lock.json'))).filter(path => {
      const { dev, devOptional, peer } = all[path] ?? {};
      return dev === true || devOptional === true || peer === true;
    });
    expect(needless).toEqual([]);
    const names = readdirSync(join(image, 'node_modules'));
    expect(names).toContain('pg');
    for (const name of ['prisma', 'typescript', 'vitest', 'tsx', 'react']) expect(names).not.toContain(name);
  });

  it('adds less than 150 MB to its base', () => {
    expect(CONTENT.reduce((sum, name) => sum + sizeOf(join(image, name)), 0)).toBeLessThan(MAX_BYTES);
  });

  it('runs the server and its commands, and its health check passes while the server runs', async () => {
    const DATABASE_URL = database.url;
    const server = startServer({ DATABASE_URL }, { folder: image, words: ['.build/src/main.js'] });
    const url = await server.ready();
    expect(await queryTypename(url)).toMatchObject({ data: { __typename: 'Query' } });
    const page = await fetch(url, { headers: { accept: 'text/html' } });
    expect(await page.text()).toContain('GraphiQL');
    const { port } = new URL(url);
    expect(await healthOf(port)).toBe(0);
    const run = (...words: string[]) => runFile(process.execPath, words, { cwd: image, env: { PATH: process.env.PATH, DATABASE_URL } });
    const { stdout } = await run('.build/scripts/key.js', 'create', '--name', 'me', '--scope', 'admin');
    expect(stdout).toMatch(/sg_/);
    for (const name of ['import-openclaw', 'migrate', 'seed']) await run(`.build/scripts/${name}.js`, '--help');
    server.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(await healthOf(port)).toBe(1);
  });

  it('takes liveness, not readiness, for health: restarting it would not bring a database back', () => {
    expect(healthCheck().join(' ')).toContain('/livez');
  });
});
