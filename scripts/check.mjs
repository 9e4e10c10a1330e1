// npm run check: runs every check, also after one has failed, and lists those that failed.
import { spawnSync } from 'node:child_process';
import { exitOnSetupError, setUp } from './setup.mjs';

const CHECKS = [
  'biome check --config-path=.biome.json',
  'tsc -p tsconfig.json',
  'knip',
  'node scripts/run.mjs print-schema --check',
  'vitest run --config test/vitest.config.ts --project unit test/unit/import-direction.test.ts',
  'node scripts/run.mjs check-drift',
];

await exitOnSetupError(() => setUp());
// npm has added the commands of the packages to PATH.
const failed = CHECKS.filter(command => spawnSync(command, { shell: true, stdio: 'inherit' }).status !== 0);
if (failed.length > 0) {
  process.stderr.write(`\nThese checks failed:\n${failed.map(command => `  ${command}\n`).join('')}`);
  process.exitCode = 1;
}
