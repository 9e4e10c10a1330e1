// Runs a command: sets up the clone if necessary, then runs the built scripts/<name>.ts. Usage: node scripts/run.mjs <name> [arguments]
import { existsSync } from 'node:fs';
import { exitOnSetupError, SetupError, setUp } from './setup.mjs';

const [program, , name = '', ...words] = process.argv;
const script = new URL(`../.build/scripts/${name}.js`, import.meta.url);
await exitOnSetupError(async () => {
  if (!/^[a-z-]+$/.test(name)) throw new SetupError('Usage: node scripts/run.mjs <name of a script> [arguments]');
  await setUp();
  if (!existsSync(script)) throw new SetupError(`There is no script scripts/${name}.ts.`);
});
process.argv = [program ?? 'node', script.pathname, ...words];
await import(script.href);
