import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Import, readImports, SRC, sourceFiles } from './source-files.ts';

/**
 * The folders of src, and the files beside them. A file imports from its own folder and from lines above it, but not from other folders of
 * its own line. The only exception: `import type` from context.ts is allowed everywhere, because resolvers and the kit name its type.
 */
const ORDER = [
  ['errors.ts', 'config.ts', 'log.ts', 'global-id.ts', 'async-iterator.ts', 'generated'],
  ['postgres'],
  ['events', 'graphql'],
  ['embedded', 'modules'],
  ['context.ts', 'sweeper', 'import'],
  ['schema.ts'],
  ['server'],
  ['app.ts'],
  ['main.ts'],
] as const;

/** Packages of GraphQL. */
const GRAPHQL_PACKAGE = /^(graphql(-\w+)*|@pothos\/.*|@graphql-.*)$/;

/** The files that may import GraphQL packages. Services, rules, inputs, loaders, SQL and all folders below the modules may not. */
const MAY_IMPORT_GRAPHQL = [/^graphql\//, /\.schema\.ts$/, /^schema\.ts$/, /^server\//];

const folderOf = (path: string) => path.split('/')[0] ?? path;
const lineOf = (path: string) => ORDER.findIndex(line => line.some(name => name === folderOf(path)));
const toText = ({ from, to }: Import) => `${from} imports ${to}`;

function isAllowed({ from, to, isTypeOnly }: Import): boolean {
  if (to === 'context.ts' && isTypeOnly) return true;
  if (folderOf(from) === folderOf(to)) return true;
  // The files of the first line have no folder of their own.
  return lineOf(to) < lineOf(from) || (lineOf(from) === 0 && lineOf(to) === 0);
}

let files: readonly string[];
let imports: readonly Import[];
let local: readonly Import[];
let external: readonly Import[];
beforeAll(async () => {
  files = await sourceFiles();
  imports = (await Promise.all(files.map(readImports))).flat();
  local = imports.filter(({ isLocal }) => isLocal);
  external = imports.filter(({ isLocal }) => !isLocal);
});

describe('imports in src', () => {
  it('are made by files and folders that ORDER contains', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.filter(path => lineOf(path) === -1)).toEqual([]);
  });

  it('lead from later lines of the order to earlier ones', () => {
    expect(local.filter(edge => !isAllowed(edge)).map(toText)).toEqual([]);
  });

  it('lead to schema files only from schema files and schema.ts', () => {
    const violations = local.filter(({ from, to }) => to.endsWith('.schema.ts') && !from.endsWith('schema.ts'));
    expect(violations.map(toText)).toEqual([]);
  });

  it('lead to GraphQL packages and src/graphql only from schema files, the kit and the server', () => {
    const violations = imports.filter(
      ({ from, to, isLocal }) =>
        (isLocal ? to.startsWith('graphql/') : GRAPHQL_PACKAGE.test(to)) && !MAY_IMPORT_GRAPHQL.some(place => place.test(from)),
    );
    expect(violations.map(toText)).toEqual([]);
  });

  it('lead to the generated client only from files that use the database or Pothos', () => {
    const violations = local.filter(({ from, to }) => to.startsWith('generated/') && /^(server|app|main|errors|config)/.test(from));
    expect(violations.map(toText)).toEqual([]);
  });

  it('bring no database driver and no SQL into rules', () => {
    const driver = external.filter(({ from, to }) => from.endsWith('.rules.ts') && /^(pg|@prisma\/.*)$/.test(to));
    // Enums of the database are plain objects.
    const client = local.filter(
      ({ from, to }) => from.endsWith('.rules.ts') && to.startsWith('generated/') && to !== 'generated/prisma/enums.ts',
    );
    expect([...driver, ...client].map(toText)).toEqual([]);
  });

  it('load OpenTelemetry only if tracing is configured', async () => {
    const users = external.filter(({ to }) => to.startsWith('@opentelemetry/')).map(({ from }) => from);
    expect(new Set(users)).toEqual(new Set(['server/observe/open-telemetry.ts']));
    const loaders = local.filter(({ to }) => to === 'server/observe/open-telemetry.ts').map(({ from }) => from);
    expect(new Set(loaders)).toEqual(new Set(['main.ts']));
    const main = await readFile(join(SRC, 'main.ts'), 'utf8');
    const statements = main.split('\n').filter(line => line.includes('open-telemetry.ts'));
    expect(statements.every(line => line.startsWith('import type ') || line.includes('await import('))).toBe(true);
  });
});
