import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

/** DESIGN.md's order: a file imports from its own layer and those before it. The first pattern that fits a path decides. */
const LAYERS: readonly (readonly RegExp[])[] = [
  [/^(errors|config|log|global-id|async-iterator)\.ts$/, /^generated\//],
  [/^(postgres|events|embedded)\//],
  [/^modules\/(caller|[\w-]+\/[\w-]+\.(rules|columns|sql|input|service|loader))\.ts$/],
  [/^(import|sweeper)\//, /^context\.ts$/],
  [/^graphql\//],
  [/^modules\/[\w-]+\/[\w-]+\.schema\.ts$/],
  [/^schema\.ts$/],
  [/^server\//],
  [/^app\.ts$/],
  [/^main\.ts$/],
];

/** Packages that know of GraphQL; services and all below them do not. */
const GRAPHQL_PACKAGES = /^(graphql(-\w+)*|@pothos\/.*|@graphql-.*)$/;
const LAST_WITHOUT_GRAPHQL = 3;

interface Import {
  readonly from: string;
  /** A path within src, or the name of a package. */
  readonly to: string;
  readonly isLocal: boolean;
}

function layerOf(path: string): number {
  return LAYERS.findIndex(patterns => patterns.some(pattern => pattern.test(path)));
}

async function importsOf(path: string): Promise<Import[]> {
  const text = await readFile(join(SRC, path), 'utf8');
  const specifiers = [
    ...text.matchAll(/^\s*(?:import|export)\b[^'"]*?\bfrom\s*'([^']+)'/gm),
    ...text.matchAll(/\bimport\s*\(?\s*'([^']+)'/g),
  ];
  return specifiers.map(([, specifier = '']) => {
    const isLocal = specifier.startsWith('.');
    return { from: path, to: isLocal ? normalize(join(dirname(path), specifier)) : specifier, isLocal };
  });
}

let files: string[];
let imports: Import[];
beforeAll(async () => {
  const entries = await readdir(SRC, { recursive: true });
  files = entries.filter(path => path.endsWith('.ts') && !path.startsWith('generated'));
  imports = (await Promise.all(files.map(importsOf))).flat();
});

describe('imports in src', () => {
  it('come from files that all have their place', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.filter(path => layerOf(path) === -1)).toEqual([]);
  });

  it('go in one direction', () => {
    const against = imports.filter(({ from, to, isLocal }) => isLocal && layerOf(to) > layerOf(from));
    expect(against.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });

  it('lead to the generated client only from files that speak to the database or to Pothos', () => {
    const strangers = imports.filter(({ from, to }) => to.startsWith('generated') && /^(server|app|main|errors|config)/.test(from));
    expect(strangers).toEqual([]);
  });

  it('bring no GraphQL into services and what lies below them', () => {
    const faults = imports.filter(
      ({ from, to, isLocal }) => !isLocal && layerOf(from) <= LAST_WITHOUT_GRAPHQL && GRAPHQL_PACKAGES.test(to),
    );
    expect(faults.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });

  it('load OpenTelemetry only where it is asked for', async () => {
    const users = imports.filter(({ to }) => to.startsWith('@opentelemetry/')).map(({ from }) => from);
    expect(new Set(users)).toEqual(new Set(['server/observe/open-telemetry.ts']));
    const loaders = imports.filter(({ to }) => to === 'server/observe/open-telemetry.ts').map(({ from }) => from);
    expect(new Set(loaders)).toEqual(new Set(['main.ts']));
    const main = await readFile(join(SRC, 'main.ts'), 'utf8');
    const statements = main.split('\n').filter(line => line.includes('open-telemetry.ts'));
    expect(statements.every(line => line.startsWith('import type ') || line.includes('await import('))).toBe(true);
  });

  it('bring neither SQL nor a database driver into rules', () => {
    const faults = imports.filter(
      ({ from, to }) => from.endsWith('.rules.ts') && /^(pg|@prisma\/.*|postgres\/.*|generated\/prisma\/client\.ts)$|\.sql\.ts$/.test(to),
    );
    expect(faults.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });
});
