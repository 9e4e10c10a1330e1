// Leaves only what the built server loads in node_modules. The Dockerfile runs it after the build. Do not run it in a clone that you work in:
// it also removes devDependencies from package.json.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Source maps and type declarations. Nothing loads them at run time. */
const UNUSED_FILE = /\.(map|d\.[cm]?ts)$/;

const RUNTIME = 'node_modules/@prisma/client/runtime';
const GENERATED_CLIENT = '.build/src/generated/prisma/internal/class.js';

/**
 * Removes packages that only the build and the tests need. `npm prune --omit=dev` alone would keep Prisma's command and TypeScript, with all
 * their packages: both are optional peers of @prisma/client, and npm keeps an optional peer that devDependencies install. Without
 * devDependencies only the peers are left, and `--omit=peer` leaves them out. No package that the server loads is only a peer.
 */
function prunePackages() {
  for (const words of [
    ['pkg', 'delete', 'devDependencies'],
    ['prune', '--omit=peer'],
  ])
    execFileSync('npm', words, { stdio: 'inherit', shell: process.platform === 'win32' });
}

/** Removes Prisma's query compilers for other databases: each has 2 to 5 MB, in two module formats. */
function pruneQueryCompilers() {
  const client = readFileSync(GENERATED_CLIENT, 'utf8');
  for (const name of readdirSync(RUNTIME)) {
    if (name.startsWith('query_compiler_') && !client.includes(`@prisma/client/runtime/${name}"`)) rmSync(join(RUNTIME, name));
  }
}

function removeUnusedFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) removeUnusedFiles(path);
    else if (UNUSED_FILE.test(entry.name)) rmSync(path);
  }
}

prunePackages();
pruneQueryCompilers();
removeUnusedFiles('node_modules');
