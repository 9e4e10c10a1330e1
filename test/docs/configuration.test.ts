import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Config, readConfig } from '../../src/config.ts';
import { ROOT } from './markdown.ts';

/** Standard variables that docs/configuration.md explains, and .env.example only names. */
const ONLY_NAMED = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_SDK_DISABLED', 'XDG_DATA_HOME'];
/** Read by the SDK of OpenTelemetry, not by src/config.ts. */
const OF_THE_SDK = ['OTEL_SERVICE_NAME'];

/** By name: the default as written in the table, `null` if it is not a value. */
let documented: ReadonlyMap<string, string | null>;
/** By name: the value in .env.example, empty if unset. */
let example: ReadonlyMap<string, string>;
let source: string;
beforeAll(async () => {
  const [page, env, config] = await Promise.all(
    ['docs/configuration.md', '.env.example', 'src/config.ts'].map(path => readFile(`${ROOT}${path}`, 'utf8')),
  );
  const rows = [...String(page).matchAll(/^\| `([A-Z_]+)` \| (.+?) \| .+ \|$/gm)];
  documented = new Map(rows.map(([, name = '', text = '']) => [name, /^`([^`]+)`$/.exec(text)?.[1] ?? null]));
  example = new Map([...String(env).matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));
  source = String(config);
});

const sorted = (names: Iterable<string>) => [...names].sort();

describe('docs/configuration.md', () => {
  it('has every variable that src/config.ts reads, and no other', () => {
    const declared = [...source.matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map(([, name = '']) => name);
    const ofOpenTelemetry = [...source.matchAll(/\bOTEL_[A-Z_]+/g)].map(([name]) => name);
    expect(declared.length).toBeGreaterThan(30);
    expect(sorted(documented.keys())).toEqual(sorted(new Set([...declared, ...ofOpenTelemetry, ...OF_THE_SDK])));
  });

  it('has the variables and defaults of .env.example', () => {
    const names = sorted(documented.keys()).filter(name => !ONLY_NAMED.includes(name));
    expect(sorted(example.keys())).toEqual(names);
    const values = names.map(name => [name, documented.get(name) ?? '']);
    expect(Object.fromEntries(example)).toEqual(Object.fromEntries(values));
  });

  it('has the defaults of src/config.ts', () => {
    const defaults = [...documented].flatMap(([name, value]) => (value === null || name === 'XDG_DATA_HOME' ? [] : [[name, value]]));
    expect(defaults.length).toBeGreaterThan(20);
    const unset: Config = readConfig({});
    expect(readConfig(Object.fromEntries(defaults))).toEqual(unset);
  });
});
