import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import * as engine from '@prisma/schema-engine-wasm/schema_engine_bg';
import pg from 'pg';
import { toClientConfig } from '../src/postgres/connection-url.ts';

/** The text of a `schema.prisma`, or null for an empty database. */
export type SchemaText = string | null;

/**
 * The SQL that leads from one Prisma schema to another; empty if they are equal.
 * Uses the WebAssembly build of Prisma's schema engine, because the engine of Prisma's command line is a separate download.
 * @param url any Postgres: the engine connects to it, but neither reads nor changes anything
 */
export async function diffSchemas(url: string, from: SchemaText, to: SchemaText): Promise<string> {
  await load();
  const pool = new pg.Pool(toClientConfig(url));
  const adapter = bindMigrationAwareSqlAdapterFactory(new PrismaPg(pool));
  const schemaEngine = await engine.SchemaEngine.new({ datamodels: undefined }, () => undefined, adapter);
  try {
    const { stdout } = await schemaEngine.diff({
      from: target(from),
      to: target(to),
      script: true,
      exitCode: null,
      filters: { externalTables: [], externalEnums: [] },
    });
    const sql = (stdout ?? '').trim();
    return sql === '-- This is an empty migration.' ? '' : sql;
  } finally {
    schemaEngine.free();
    await pool.end();
  }
}

let loaded: Promise<void> | null = null;

/** Loads the engine by hand: the package's entry imports the .wasm file as a module, which Node supports only behind a flag. */
function load(): Promise<void> {
  loaded ??= (async () => {
    const path = createRequire(import.meta.url)
      .resolve('@prisma/schema-engine-wasm/schema_engine_bg')
      .replace(/\.js$/, '.wasm');
    const module = await WebAssembly.compile(await readFile(path));
    const { exports } = await WebAssembly.instantiate(module, { './schema_engine_bg.js': engine });
    engine.__wbg_set_wasm(exports);
    const { __wbindgen_start: begin } = exports;
    if (typeof begin === 'function') begin();
  })();
  return loaded;
}

function target(schema: SchemaText): engine.DiffTarget {
  return schema === null ? { tag: 'empty' } : { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content: schema }] };
}
