import { brandWithType, type ObjectRef } from '@pothos/core';
import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import { parseGlobalId } from '../global-id.ts';
import { builder, type SchemaTypes } from './builder.ts';
import { columnGroups } from './look-ahead.ts';

/** How `node` finds the objects of one type. */
export interface NodeType<Key, Row> {
  /** Reads the key from a global id of this type. Null if the id is malformed. */
  readonly parse: (globalId: string) => Key | null;
  /**
   * Loads the object. Null if it does not exist or the viewer may not see it.
   * @param groups column groups that the operation needs of the object (look-ahead.ts)
   */
  readonly load: (key: Key, context: Context, groups: readonly string[]) => Promise<Row | null>;
}

type Find = (globalId: string, context: Context, groups: readonly string[]) => Promise<object | null>;

const MAX_NODES = 100;

const findByType = new Map<string, Find>();

/** Relay's Node. Every type that implements it must also be passed to `registerNode`. */
export const Node = builder.interfaceRef<object>('Node').implement({
  description: 'An object with a global id, as defined by the Relay object identification specification.',
  fields: t => ({ id: t.id({ description: 'Opaque. `node` finds the object by it.' }) }),
});

/**
 * Makes the objects of a type available to `node` and `nodes`. Each module's schema file calls it once for its type.
 * @param type implements `Node`; its global ids start with its name
 */
export function registerNode<Row extends object, Key>(
  type: ObjectRef<SchemaTypes, Row>,
  { parse, load }: NodeType<Key, NoInfer<Row>>,
): void {
  findByType.set(type.name, async (globalId, context, groups) => {
    const key = parse(globalId);
    const row = key === null ? null : await load(key, context, groups);
    // Pothos resolves the type of the interface from this brand.
    brandWithType(row, type);
    return row;
  });
}

async function find(globalId: string, context: Context, groups: readonly string[]): Promise<object | null> {
  const type = parseGlobalId(globalId)?.type;
  const findOfType = type === undefined ? undefined : findByType.get(type);
  return findOfType === undefined ? null : findOfType(globalId, context, groups);
}

builder.queryFields(t => ({
  node: t.field({
    type: Node,
    nullable: true,
    description: 'The object with this global id. Null if it does not exist or the caller may not see it.',
    args: { id: t.arg.id({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { id }, context, info) => find(id, context, columnGroups(info, [[]])),
  }),
  nodes: t.field({
    type: [Node],
    nullable: { list: false, items: true },
    description: `The objects with up to ${MAX_NODES} global ids, in the order of the ids. Null for each that does not exist or that the caller may not see.`,
    args: { ids: t.arg.idList({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { ids }, context, info) => {
      if (ids.length > MAX_NODES) {
        throw new DomainError('PAGE_SIZE_TOO_LARGE', `nodes takes at most ${MAX_NODES} ids; got ${ids.length}.`, {
          field: 'ids',
          requested: ids.length,
          max: MAX_NODES,
        });
      }
      const groups = columnGroups(info, [[]]);
      return Promise.all(ids.map(id => find(id, context, groups)));
    },
  }),
}));
