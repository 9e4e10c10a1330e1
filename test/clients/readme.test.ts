import { readdir, readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

const EXAMPLES = new URL('./examples/', import.meta.url);
const README = new URL('../../README.md', import.meta.url);

it('the README has each example as it is tested here', async () => {
  const readme = await readFile(README, 'utf8');
  const shown = [...readme.matchAll(/^`([\w-]+\.ts)`[^\n]*\n(?:[^`\n][^\n]*\n)*\n```ts\n([\s\S]*?)^```\n/gm)].map(
    ([, name = '', text = '']) => [name, text],
  );
  const names = (await readdir(EXAMPLES)).sort();
  const tested = await Promise.all(names.map(async name => [name, await readFile(new URL(name, EXAMPLES), 'utf8')]));
  expect(names.length).toBeGreaterThan(5);
  expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(tested));
  expect(shown.length).toBe(names.length);
});
