import { buildSchema, GraphQLObjectType, type GraphQLResolveInfo, graphql, isInterfaceType } from 'graphql';
import { describe, expect, it } from 'vitest';
import { columnGroups } from '../../../src/graphql/look-ahead.ts';

const schema = buildSchema(/* GraphQL */ `
  interface Node { id: ID! }
  type Progress { percent: Int note: String }
  type Row implements Node { id: ID! plain: Int text: String json: String other: Int progress: Progress parent: Row list: RowList }
  type Thing implements Node { id: ID! secret: String }
  type RowEdge { cursor: String node: Row }
  type RowList { edges: [RowEdge] nodes: [Row] total: Int }
  type Query { row: Row rows: RowList node: Node }
`);

function extend(type: string, field: string, extensions: object): void {
  const found = schema.getType(type);
  if (!(found instanceof GraphQLObjectType) && !isInterfaceType(found)) throw new Error(`There is no type ${type}.`);
  Object.assign(found.getFields()[field] ?? {}, { extensions });
}
extend('Row', 'text', { columns: 'texts' });
extend('Row', 'json', { columns: 'json' });
extend('Row', 'other', { columns: 'other' });
extend('Row', 'progress', { embedded: true });
extend('Progress', 'percent', { columns: 'progress' });
extend('Progress', 'note', { columns: 'notes' });
extend('Thing', 'secret', { columns: 'secrets' });

const NODE_PATHS = [['nodes'], ['edges', 'node']];

/** Runs an operation and returns the column groups that its first root field needs. */
async function groupsOf(source: string, variableValues: Record<string, unknown> = {}): Promise<readonly string[]> {
  let groups: readonly string[] | null = null;
  const resolver = (_args: unknown, _context: unknown, info: GraphQLResolveInfo) => {
    groups ??= columnGroups(info, info.fieldName === 'rows' ? NODE_PATHS : [[]]);
    return null;
  };
  const { errors } = await graphql({ schema, source, rootValue: { row: resolver, rows: resolver, node: resolver }, variableValues });
  if (errors !== undefined || groups === null) throw new Error(`The operation failed: ${JSON.stringify(errors)}`);
  return groups;
}

describe('columnGroups', () => {
  it('returns the groups of the selected fields, sorted and without duplicates', async () => {
    expect(await groupsOf('{ row { id plain } }')).toEqual([]);
    expect(await groupsOf('{ row { text id json again: text } }')).toEqual(['json', 'texts']);
    expect(await groupsOf('{ row { __typename } }')).toEqual([]);
  });

  it('follows aliases, fragments and nested inline fragments', async () => {
    expect(
      await groupsOf('{ row { a: text ...F } } fragment F on Row { ...G } fragment G on Row { ... on Row { j: json } ... { other } }'),
    ).toEqual(['json', 'other', 'texts']);
  });

  it('includes fields that @skip or @include leave out', async () => {
    expect(
      await groupsOf('query($no: Boolean = false) { row { text @skip(if: true) json @include(if: $no) ... @include(if: $no) { other } } }'),
    ).toEqual(['json', 'other', 'texts']);
  });

  it('merges repeated selections of a field, at every level', async () => {
    expect(await groupsOf('{ row { text } row { json } }')).toEqual(['json', 'texts']);
    expect(
      await groupsOf('{ rows { nodes { text } } ...F } fragment F on Query { rows { nodes { json } edges { node { other } } } }'),
    ).toEqual(['json', 'other', 'texts']);
  });

  it('leaves out the fields of related rows', async () => {
    expect(await groupsOf('{ row { parent { text } list { nodes { json } } } }')).toEqual([]);
  });

  it('includes the fields of objects embedded in the row', async () => {
    expect(await groupsOf('{ row { progress { percent } p: progress { ...F } } } fragment F on Progress { note }')).toEqual([
      'notes',
      'progress',
    ]);
    expect(await groupsOf('{ row { progress { __typename } } }')).toEqual([]);
  });

  it('reads the selections below the given paths of a connection only', async () => {
    expect(await groupsOf('{ rows { total } }')).toEqual([]);
    expect(await groupsOf('{ rows { n: nodes { text } e: edges { cursor n: node { json } } } }')).toEqual(['json', 'texts']);
  });

  it('includes the fields of every type selected on an interface', async () => {
    expect(await groupsOf('{ node { id ... on Row { text progress { note } } ... on Thing { secret } } }')).toEqual([
      'notes',
      'secrets',
      'texts',
    ]);
    expect(await groupsOf('{ node { ... on Node { ... on Row { json } } } }')).toEqual(['json']);
  });
});

describe('columnGroups of a document that runs again', () => {
  it('returns the same groups, and other groups for another document', async () => {
    const source = '{ row { text } }';
    expect(await groupsOf(source)).toEqual(['texts']);
    expect(await groupsOf(source)).toEqual(['texts']);
    expect(await groupsOf('{ row { json } }')).toEqual(['json']);
  });
});
