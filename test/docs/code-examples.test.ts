import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT, readPages } from './markdown.ts';

/** The folder of the service in the example of docs/contributing.md, to which its imports are relative. */
const EXAMPLE_FOLDER = 'src/modules/session-mutation';

/** What the example itself adds. */
const ADDED = new Set(['FlagSessionInput']);

const IMPORT = /^import (?:type )?\{([^}]+)\} from '(\.[^']+)';$/gm;

/** The names that a file exports. */
async function exportsOf(path: string): Promise<ReadonlySet<string>> {
  const text = await readFile(join(ROOT, path), 'utf8');
  const declared = [...text.matchAll(/^export (?:async )?(?:function|const|interface|type|class|enum|import) (\w+)/gm)];
  const listed = [...text.matchAll(/^export \{([^}]+)\}/gm)].flatMap(([, names = '']) => names.split(',').map(name => name.trim()));
  // Prisma's client exports a namespace.
  const namespaces = [...text.matchAll(/^export \* as (\w+)/gm)];
  return new Set([...declared.map(([, name = '']) => name), ...listed, ...namespaces.map(([, name = '']) => name)]);
}

it('imports in the code examples of docs/contributing.md name files and exports that exist', async () => {
  const page = (await readPages()).find(({ path }) => path === 'docs/contributing.md');
  const imports = (page?.blocks ?? [])
    .filter(({ language }) => language === 'ts')
    .flatMap(({ text }) => [...text.matchAll(IMPORT)])
    .map(([, names = '', from = '']) => ({
      path: normalize(join(EXAMPLE_FOLDER, from)),
      names: names.split(',').map(name => name.trim()),
    }));
  expect(imports.length).toBeGreaterThan(3);
  const missing: string[] = [];
  for (const { path, names } of imports) {
    const exported = await exportsOf(path);
    missing.push(...names.filter(name => !ADDED.has(name) && !exported.has(name)).map(name => `${name} in ${path}`));
  }
  expect(missing).toEqual([]);
});
