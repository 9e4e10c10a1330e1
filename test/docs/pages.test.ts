import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Page, ROOT, readPages } from './markdown.ts';

let pages: readonly Page[];
beforeAll(async () => {
  pages = await readPages();
});

/** The files that the links of a page lead to, relative to the root, with the fragment behind `#`. */
function targetsOf({ path, links }: Page): { readonly file: string; readonly fragment: string | undefined }[] {
  return links
    .filter(link => !/^\w+:/.test(link))
    .map(link => {
      const [target = '', fragment] = link.split('#');
      return { file: target === '' ? path : normalize(join(dirname(path), target)), fragment };
    });
}

describe('README.md and docs/', () => {
  it('have no broken links', () => {
    const broken = pages.flatMap(page =>
      targetsOf(page).filter(({ file, fragment }) => {
        if (!existsSync(join(ROOT, file))) return true;
        return fragment !== undefined && !pages.find(({ path }) => path === file)?.anchors.has(fragment);
      }),
    );
    expect(broken).toEqual([]);
  });

  it('link to every page and every example', async () => {
    const linked = new Set(pages.flatMap(page => targetsOf(page).map(({ file }) => file)));
    const examples = (await readdir(join(ROOT, 'docs/examples'))).map(name => `docs/examples/${name}`);
    const expected = [...pages.map(({ path }) => path).filter(path => path !== 'README.md'), ...examples];
    expect(expected.filter(path => !linked.has(path))).toEqual([]);
  });
});
