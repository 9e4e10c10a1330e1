import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder src. */
export const SRC = fileURLToPath(new URL('../../src', import.meta.url));

/** An import or re-export in a file of src. */
export interface Import {
  readonly from: string;
  /** A path within src, or the name of a package. */
  readonly to: string;
  readonly isLocal: boolean;
  readonly isTypeOnly: boolean;
}

/** Paths of the TypeScript files within src, without the generated ones. */
export async function sourceFiles(): Promise<readonly string[]> {
  const paths = await readdir(SRC, { recursive: true });
  return paths.filter(path => path.endsWith('.ts') && !path.startsWith('generated')).sort();
}

/** All imports of a file, dynamic ones included. */
export async function readImports(path: string): Promise<readonly Import[]> {
  const text = await readFile(join(SRC, path), 'utf8');
  const found = [
    ...text.matchAll(/^\s*(?:import|export)\b(?<type> type\b)?[^'"]*?\bfrom\s*'(?<specifier>[^']+)'/gm),
    ...text.matchAll(/\bimport\s*\(?\s*'(?<specifier>[^']+)'/g),
  ];
  return found.map(({ groups }) => {
    const specifier = groups?.specifier ?? '';
    const isLocal = specifier.startsWith('.');
    const to = isLocal ? normalize(join(dirname(path), specifier)) : specifier;
    return { from: path, to, isLocal, isTypeOnly: groups?.type !== undefined };
  });
}
