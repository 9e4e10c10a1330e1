// `node scripts/run.mjs <name> [arguments]`: sets up what is not set up yet and runs scripts/<name>.ts as built.
import { existsSync } from 'node:fs';
import { runOrExplain, SetupError, setUp } from './setup.mjs';

const [program, , name = '', ...rest] = process.argv;
const script = new URL(`../.build/scripts/${name}.js`, import.meta.url);
await runOrExplain(async () => {
  await setUp();
  if (!/^[a-z-]+$/.test(name) || !existsSync(script)) throw new SetupError(`There is no script "${name}".`);
});
process.argv = [program ?? 'node', script.pathname, ...rest];
await import(script.href);
