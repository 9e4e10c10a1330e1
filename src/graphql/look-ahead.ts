import {
  type FieldNode,
  type GraphQLNamedType,
  type GraphQLResolveInfo,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type SelectionSetNode,
} from 'graphql';

declare module 'graphql' {
  interface GraphQLFieldExtensions<_TSource, _TContext, _TArgs> {
    /** The column group that this field of a row needs, in addition to the columns that are always read (look-ahead.ts). */
    columns?: string;
    /** True if the field's object is made from the same row: the row must then have the groups that the object's fields need. */
    embedded?: boolean;
    /** Page sizes of a connection field. The query cost depends on them. */
    pageSize?: { default: number; max: number };
  }
}

/** The results for fields that occur once in their operation, by path. */
const known = new WeakMap<FieldNode, Map<string, readonly string[]>>();

/**
 * The column groups that the operation needs of the rows that a field returns, sorted.
 * The fields of the rows' type name their groups in the `columns` extension. Fields in fragments count, and so do fields with @skip or
 * @include: an unneeded group costs little, but a missing group breaks a field.
 * @param paths the fields that lead to the rows, such as `[['nodes'], ['edges', 'node']]`; `[[]]` if the field itself returns them
 */
export function columnGroups(info: GraphQLResolveInfo, paths: readonly (readonly string[])[]): readonly string[] {
  const [only] = info.fieldNodes;
  if (info.fieldNodes.length !== 1 || only === undefined) return collect(info, paths);
  const byPath = known.get(only) ?? new Map<string, readonly string[]>();
  known.set(only, byPath);
  const key = paths.map(path => path.join('.')).join();
  const groups = byPath.get(key) ?? collect(info, paths);
  byPath.set(key, groups);
  return groups;
}

function collect(info: GraphQLResolveInfo, paths: readonly (readonly string[])[]): readonly string[] {
  const groups = new Set<string>();
  for (const path of paths) {
    let level = info.fieldNodes.map(node => ({ node, type: getNamedType(info.returnType) as GraphQLNamedType }));
    for (const name of path) {
      level = level.flatMap(({ node, type }) =>
        [...fieldsOf(info, type, node.selectionSet)].filter(field => field.node.name.value === name),
      );
    }
    for (const { node, type } of level) {
      addGroups(info, type, node.selectionSet, groups);
    }
  }
  return [...groups].sort();
}

function addGroups(
  info: GraphQLResolveInfo,
  type: GraphQLNamedType,
  selectionSet: SelectionSetNode | undefined,
  groups: Set<string>,
): void {
  for (const field of fieldsOf(info, type, selectionSet)) {
    if (field.columns !== undefined) groups.add(field.columns);
    if (field.embedded) addGroups(info, field.type, field.node.selectionSet, groups);
  }
}

interface SelectedField {
  readonly node: FieldNode;
  readonly type: GraphQLNamedType;
  readonly columns: string | undefined;
  readonly embedded: boolean;
}

function* fieldsOf(
  info: GraphQLResolveInfo,
  parent: GraphQLNamedType,
  selectionSet: SelectionSetNode | undefined,
): Generator<SelectedField> {
  if (!isObjectType(parent) && !isInterfaceType(parent)) return;
  for (const selection of selectionSet?.selections ?? []) {
    if (selection.kind === Kind.FIELD) {
      const field = parent.getFields()[selection.name.value];
      if (field === undefined) continue;
      const { columns, embedded = false } = field.extensions;
      yield { node: selection, type: getNamedType(field.type), columns, embedded };
      continue;
    }
    const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : info.fragments[selection.name.value];
    const condition = fragment?.typeCondition?.name.value;
    const type = condition === undefined ? parent : info.schema.getType(condition);
    if (fragment !== undefined && type !== undefined) yield* fieldsOf(info, type, fragment.selectionSet);
  }
}
