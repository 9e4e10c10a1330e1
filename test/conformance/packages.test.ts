import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface InstalledPackage {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, InstalledPackage>>;
}

function versionsOf(name: string, tree: InstalledPackage): string[] {
  return Object.entries(tree.dependencies ?? {}).flatMap(([key, installed]) => [
    ...(key === name && installed.version !== undefined ? [installed.version] : []),
    ...versionsOf(name, installed),
  ]);
}

it('all dependencies use the same version of graphql', async () => {
  const { stdout } = await promisify(execFile)('npm', ['ls', 'graphql', '--json', '--all'], { cwd: ROOT });
  const versions = versionsOf('graphql', JSON.parse(stdout) as InstalledPackage);
  expect(versions.length).toBeGreaterThan(1);
  expect(new Set(versions).size).toBe(1);
});
