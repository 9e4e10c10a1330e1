import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { SRC, sourceFiles } from './source-files.ts';

const MAX_LINES = 350;
const MAX_FILES = 15;

/** The names that a file exports: `export const a`, `export function b`, `export const { C: d }`, and so on. Overloads count once. */
function exportedNames(text: string): ReadonlySet<string> {
  const declared = text.matchAll(/^export (?:declare |abstract |async )*(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm);
  const destructured = [...text.matchAll(/^export const \{([^}]*)\}/gm)].flatMap(([, list = '']) => list.split(','));
  const names = [...[...declared].map(([, name = '']) => name), ...destructured.map(part => part.split(':').at(-1)?.trim() ?? '')];
  return new Set(names.filter(name => name !== ''));
}

let sources: readonly { readonly path: string; readonly text: string }[];
beforeAll(async () => {
  const paths = await sourceFiles();
  sources = await Promise.all(paths.map(async path => ({ path, text: await readFile(join(SRC, path), 'utf8') })));
});

describe('files in src', () => {
  it(`have at most ${MAX_LINES} lines`, () => {
    const lines = sources.map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }));
    expect(lines.filter(file => file.lines > MAX_LINES)).toEqual([]);
  });

  it(`share a folder with at most ${MAX_FILES - 1} others`, () => {
    const folders = grouped(sources.map(({ path }) => [dirname(path), path]));
    expect(folders.filter(([, paths]) => paths.length > MAX_FILES)).toEqual([]);
  });

  it('export no name that another file exports', () => {
    const exported = sources.flatMap(({ path, text }) => [...exportedNames(text)].map(name => [name, path] as const));
    expect(exported.length).toBeGreaterThan(100);
    expect(grouped(exported).filter(([, paths]) => paths.length > 1)).toEqual([]);
  });
});

/** The values of each key. */
function grouped(entries: readonly (readonly [string, string])[]): readonly (readonly [string, readonly string[]])[] {
  const groups = new Map<string, string[]>();
  for (const [key, value] of entries) groups.set(key, [...(groups.get(key) ?? []), value]);
  return [...groups];
}
