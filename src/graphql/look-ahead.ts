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
    /** The column group this field of a row needs beyond the core; see look-ahead.ts. */
    columns?: string;
    /** Set where the field's object is made of the same row: the groups its fields need are the row's. */
    embedded?: boolean;
    /** Page sizes of a connection field, which query cost is reckoned by. */
    pageSize?: { default: number; max: number };
  }
}

const seen = new WeakMap<FieldNode, Map<string, readonly string[]>>();

/**
 * The column groups that the operation needs of the rows a field gives, in a fixed order.
 * A group is named by the `columns` extension of a field of the row's type. @skip and @include count as included,
 * several nodes of one field are merged, and fragments are followed: a group too many costs little, one too few breaks a field.
 * @param paths where the rows lie below the field, e.g. `[['nodes'], ['edges', 'node']]`; `[[]]` is the field itself
 */
export function columnGroups(info: GraphQLResolveInfo, paths: readonly (readonly string[])[]): readonly string[] {
  const [only] = info.fieldNodes;
  if (info.fieldNodes.length !== 1 || only === undefined) return collect(info, paths);
  const byPath = seen.get(only) ?? new Map<string, readonly string[]>();
  seen.set(only, byPath);
  const key = paths.map(path => path.join('.')).join();
  const known = byPath.get(key) ?? collect(info, paths);
  byPath.set(key, known);
  return known;
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
