import { readdir, readFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import {
  buildSchema,
  type ExecutionResult,
  execute,
  type GraphQLError,
  GraphQLObjectType,
  GraphQLScalarType,
  GraphQLSchema,
  GraphQLString,
  getIntrospectionQuery,
  OperationTypeNode,
  parse,
  validate,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { estimatedJsonSize } from '../../../../../src/postgres/json-size.ts';
import { createSchema } from '../../../../../src/schema.ts';
import { compileOperation } from '../../../../../src/server/graphql/executor/compiled-operation.ts';
import { randomOperation } from './random-document.ts';
import { type Odds, useRandomResolvers } from './random-resolvers.ts';

interface Outcome {
  readonly result: ExecutionResult;
  readonly calls: readonly string[];
}

interface Run {
  readonly byGraphQL: Outcome;
  readonly compiled: Outcome & { readonly dataSize: number | null };
}

/**
 * Executes a document by graphql-js and compiled, with the same random values. graphql-js leaves rejections unhandled if a later item of the
 * list throws; the compiled operation must not, or they would end the process.
 */
async function runBoth(schema: GraphQLSchema, text: string, variables: Readonly<Record<string, unknown>>, seed: number): Promise<Run> {
  const document = parse(text);
  const compiledOperation = compileOperation(schema, document);
  if (compiledOperation === null) throw new Error(`Not compiled: ${text}`);
  const rootValue = { seed, type: '' };
  const contexts = [{ calls: [] as string[] }, { calls: [] as string[] }] as const;
  const result = await ignoringUnhandledRejections(async () =>
    execute({ schema, document, rootValue, variableValues: variables, contextValue: contexts[0] }),
  );
  const compiled = await compiledOperation({ rootValue, variableValues: variables, contextValue: contexts[1] });
  return { byGraphQL: { result, calls: contexts[0].calls.sort() }, compiled: { ...compiled, calls: contexts[1].calls.sort() } };
}

async function ignoringUnhandledRejections<Result>(work: () => Promise<Result>): Promise<Result> {
  const listeners = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', () => undefined);
  try {
    const result = await work();
    await setImmediate();
    return result;
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const listener of listeners) process.on('unhandledRejection', listener);
  }
}

/** JSON and errors as clients see them. graphql-js describes an invalid value in its own words. */
function visible({ data, errors }: ExecutionResult) {
  const shown = errors?.map(({ path, message, locations }) => ({
    path,
    locations,
    message: /Symbol|represent|object type/i.test(message) ? 'invalid value' : message,
  }));
  return JSON.stringify({ data, errors: shown });
}

/** The place in the data that an error made null. */
function nulledPlace(data: unknown, error: GraphQLError): string {
  const place: (string | number)[] = [];
  let value = data;
  for (const key of error.path ?? []) {
    if (value === null || typeof value !== 'object') break;
    place.push(key);
    value = (value as Record<string | number, unknown>)[key];
  }
  return place.join('.');
}

function nulledPlaces({ data, errors = [] }: ExecutionResult): readonly string[] {
  return [...new Set(errors.map(error => nulledPlace(data, error)))].sort();
}

function randomSchema(odds: Odds): GraphQLSchema {
  const schema = createSchema();
  useRandomResolvers(schema, odds);
  return schema;
}

const OPERATIONS = [OperationTypeNode.QUERY, OperationTypeNode.MUTATION, OperationTypeNode.SUBSCRIPTION];
const SEEDS = Array.from({ length: 100 }, (_, index) => 7_919 * (index + 1));

describe.each(OPERATIONS)('a compiled %s', operation => {
  it.each<[string, Odds]>([
    ['values', { fault: 0, promise: 0 }],
    ['values and promises', { fault: 0, promise: 0.3 }],
    ['values and errors', { fault: 0.1, promise: 0 }],
  ])('has the same response and calls as in graphql-js if resolvers return %s', async (_name, odds) => {
    const schema = randomSchema(odds);
    for (const seed of SEEDS) {
      const { document, variables } = randomOperation(schema, operation, seed);
      expect(validate(schema, parse(document)), document).toEqual([]);
      const { byGraphQL, compiled } = await runBoth(schema, document, variables, seed);
      expect(visible(compiled.result), document).toBe(visible(byGraphQL.result));
      expect(compiled.calls).toEqual(byGraphQL.calls);
      if (odds.fault === 0) expect(compiled.dataSize).toBe(estimatedJsonSize(compiled.result.data));
    }
  });

  it('has the same data, and errors for the same places, if resolvers return promises that fail', async () => {
    const schema = randomSchema({ fault: 0.1, promise: 0.3 });
    for (const seed of SEEDS) {
      const { document, variables } = randomOperation(schema, operation, seed);
      const { byGraphQL, compiled } = await runBoth(schema, document, variables, seed);
      expect(JSON.stringify(compiled.result.data), document).toBe(JSON.stringify(byGraphQL.result.data));
      expect(nulledPlaces(compiled.result), document).toEqual(nulledPlaces(byGraphQL.result));
    }
  });
});

/** Texts in the tests and documentation that may be documents. */
async function writtenDocuments(): Promise<readonly string[]> {
  const root = new URL('../../../../../', import.meta.url);
  const names = await Promise.all(
    ['test', 'docs'].map(async folder => (await readdir(new URL(folder, root), { recursive: true })).map(name => `${folder}/${name}`)),
  );
  const files = ['README.md', ...names.flat().filter(name => /\.(ts|md)$/.test(name))];
  const texts = await Promise.all(files.map(name => readFile(new URL(name, root), 'utf8')));
  const found = texts.flatMap(text => [
    ...[...text.matchAll(/`([^`]*)`/g), ...text.matchAll(/'([^'\n]*)'/g)].map(match => match[1] ?? ''),
    ...[...text.matchAll(/```graphql\n(.*?)```/gs)].map(match => match[1] ?? ''),
  ]);
  return [...new Set(found.filter(text => /^\s*(query|mutation|subscription|\{)/.test(text)))];
}

describe('the documents of the tests and the documentation', () => {
  it('have the same response compiled as in graphql-js', async () => {
    const schema = randomSchema({ fault: 0, promise: 0.3 });
    const documents = (await writtenDocuments()).filter(text => {
      try {
        const document = parse(text);
        return validate(schema, document).length === 0 && compileOperation(schema, document) !== null;
      } catch {
        return false;
      }
    });
    expect(documents.length).toBeGreaterThan(150);
    for (const [index, text] of documents.entries()) {
      const { byGraphQL, compiled } = await runBoth(schema, text, { id: 'x', first: 3 }, 31 * index + 1);
      expect(visible(compiled.result), text).toBe(visible(byGraphQL.result));
      expect(compiled.calls).toEqual(byGraphQL.calls);
    }
  });
});

describe('compileOperation', () => {
  const schema = buildSchema('type Query { a: Int b: [Int!] } type Mutation { a: Int b: Int }');

  it('executes introspection as graphql-js does', async () => {
    const { byGraphQL, compiled } = await runBoth(createSchema(), getIntrospectionQuery(), {}, 1);
    expect(visible(compiled.result)).toBe(visible(byGraphQL.result));
  });

  it('reports invalid variables as graphql-js does', async () => {
    const { byGraphQL, compiled } = await runBoth(schema, 'query ($a: Int!, $b: Boolean) { a @skip(if: true) }', { a: 'x', b: 1 }, 1);
    expect(compiled.result.errors).toEqual(byGraphQL.result.errors);
    expect(compiled.result.errors).toHaveLength(2);
  });

  it('executes @skip and @include by the variables of each execution', async () => {
    const operation = compileOperation(schema, parse('query ($no: Boolean!) { a @skip(if: $no) b @include(if: $no) }'));
    const dataFor = async (no: boolean) => (await operation?.({ rootValue: { a: 1, b: [2] }, variableValues: { no } }))?.result.data;
    expect(await dataFor(true)).toEqual({ b: [2] });
    expect(await dataFor(false)).toEqual({ a: 1 });
    expect(await dataFor(true)).toEqual({ b: [2] });
  });

  it('gives each execution the arguments of its own variables', async () => {
    const withArgument = buildSchema('type Query { double(of: Int!): Int }');
    const operation = compileOperation(withArgument, parse('query ($n: Int!) { double(of: $n) six: double(of: 3) }'));
    const rootValue = { double: ({ of }: { of: number }) => 2 * of };
    const dataFor = async (n: number) => (await operation?.({ rootValue, variableValues: { n } }))?.result.data;
    expect(await dataFor(1)).toEqual({ double: 2, six: 6 });
    expect(await dataFor(5)).toEqual({ double: 10, six: 6 });
  });

  it('coerces variables and arguments once for executions that reuse them', async () => {
    const parsed: unknown[] = [];
    const counting = new GraphQLScalarType({
      name: 'Counting',
      parseValue(value) {
        parsed.push(value);
        return value;
      },
    });
    const counted = new GraphQLSchema({
      query: new GraphQLObjectType({
        name: 'Query',
        fields: {
          echo: { type: GraphQLString, args: { of: { type: counting } }, resolve: (root, { of }) => `${root}: ${of}` },
          other: { type: GraphQLString, args: { of: { type: counting } }, resolve: () => 'other' },
        },
      }),
    });
    const text = 'query ($n: Counting, $no: Boolean!) { echo(of: $n) @skip(if: $no) other(of: $n) @include(if: $no) }';
    const operation = compileOperation(counted, parse(text));
    const executor = (variableValues: Record<string, unknown>) => {
      const reused = { prepared: null };
      return async (rootValue: string) => (await operation?.({ rootValue, variableValues, reused }))?.result.data;
    };
    const [one, two] = [executor({ n: 1, no: false }), executor({ n: 2, no: true })];
    expect([await one('a'), await two('a'), await one('b'), await two('b')]).toEqual([
      { echo: 'a: 1' },
      { other: 'other' },
      { echo: 'b: 1' },
      { other: 'other' },
    ]);
    expect(parsed).toEqual([1, 2]);
  });

  it.each([
    ['several mutation fields', 'mutation { a b }'],
    ['a mutation in a fragment', 'mutation { ...F } fragment F on Mutation { a b }'],
    ['a response name __proto__', '{ __proto__: a }'],
  ])('leaves %s to graphql-js', (_name, text) => {
    expect(compileOperation(schema, parse(text))).toBeNull();
  });
});
