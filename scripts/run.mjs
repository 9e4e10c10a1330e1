// Runs a command: sets up the clone if necessary, then runs the built scripts/<name>.ts. Usage: node scripts/run.mjs <name> [arguments]
import { existsSync } from 'node:fs';
import { exitOnSetupError, SetupError, setUp } from './setup.mjs';

/** Runs from the sources: while a migration is missing, the code may not compile. */
const RUNS_WITHOUT_BUILD = ['new-migration'];

const [program, , name = '', ...words] = process.argv;
const build = !RUNS_WITHOUT_BUILD.includes(name);
const script = new URL(build ? `../.build/scripts/${name}.js` : `${name}.ts`, import.meta.url);
await exitOnSetupError(async () => {
  if (!/^[a-z-]+$/.test(name)) throw new SetupError('Usage: node scripts/run.mjs <name of a script> [arguments]');
  await setUp({ build });
  if (!existsSync(script)) throw new SetupError(`There is no script scripts/${name}.ts.`);
});
if (!build) (await import('tsx/esm/api')).register();
process.argv = [program ?? 'node', script.pathname, ...words];
await import(script.href);
