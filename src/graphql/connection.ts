import type { InterfaceRef, ObjectRef } from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import type { Page, PageSize } from '../postgres/keyset.ts';
import { builder, type SchemaTypes } from './builder.ts';
import { columnGroups } from './look-ahead.ts';

/** One page of a list. */
export interface Connection<Row> {
  readonly page: Page<Row>;
  /** Counts the whole list. Called only if the operation selects `totalCount`. */
  readonly count: () => Promise<number>;
}

interface Edge<Row> {
  readonly page: Page<Row>;
  readonly index: number;
  readonly node: Row;
}

type Ref<Shape> = ObjectRef<SchemaTypes, Shape> | InterfaceRef<SchemaTypes, Shape>;

/** Cursors have their own column group, because many operations select none. */
const CURSOR = { columns: 'cursor' };

const PageInfo = builder.objectRef<Page<unknown>>('PageInfo').implement({
  description: 'The position of a page in its list, as defined by the Relay cursor connections specification.',
  fields: t => ({
    hasNextPage: t.boolean({
      resolve: page => page.hasNextPage,
      description: 'Whether items follow this page. Always true if `before` was given.',
    }),
    hasPreviousPage: t.boolean({
      resolve: page => page.hasPreviousPage,
      description: 'Whether items precede this page. Always true if `after` was given.',
    }),
    startCursor: t.string({
      nullable: true,
      extensions: CURSOR,
      resolve: page => page.cursorAt(0),
      description: 'Pass it as `before` to get the previous page.',
    }),
    endCursor: t.string({
      nullable: true,
      extensions: CURSOR,
      resolve: page => page.cursorAt(page.rows.length - 1),
      description: 'Pass it as `after` to get the next page.',
    }),
  }),
});

/** Texts for the descriptions of a connection. */
export interface ConnectionOptions {
  /** What the nodes are, in the plural: `sessions`. */
  readonly nodes: string;
  /** Describes the field `totalCount`. */
  readonly totalCount?: string;
}

/** Declares `<Name>Connection` and `<Name>Edge` for a node type. The rows of the page are the nodes. */
export function connectionTypes<Row extends object>(name: string, node: Ref<object>, options: ConnectionOptions) {
  const Edge = builder.objectRef<Edge<Row>>(`${name}Edge`).implement({
    description: `One of the ${options.nodes}, with its cursor.`,
    fields: t => ({
      cursor: t.string({
        extensions: CURSOR,
        resolve: edge => edge.page.cursorAt(edge.index) ?? '',
        description: 'Pass it as `after` or `before` to continue from here.',
      }),
      node: t.field({ type: node, resolve: edge => edge.node }),
    }),
  });
  const Connection = builder.objectRef<Connection<Row>>(`${name}Connection`).implement({
    description: `A page of ${options.nodes}.`,
    fields: t => ({
      edges: t.field({
        type: [Edge],
        resolve: ({ page }) => page.rows.map((row, index) => ({ page, index, node: row })),
      }),
      nodes: t.field({
        type: [node],
        resolve: ({ page }): readonly object[] => page.rows,
        description: 'The nodes of `edges`, without the cursors.',
      }),
      pageInfo: t.field({ type: PageInfo, resolve: ({ page }) => page }),
      totalCount: t.int({
        resolve: connection => connection.count(),
        description: options.totalCount ?? `Number of ${options.nodes} on all pages. Counted only if selected.`,
      }),
    }),
  });
  return { Connection, Edge };
}

const NODE_PATHS = [['nodes'], ['edges', 'node']] as const;
const CONNECTION_PATHS = [['edges'], ['pageInfo']] as const;

/** The column groups that the operation needs of a connection's rows: for the nodes, and for the connection itself. */
export function connectionGroups(info: GraphQLResolveInfo): readonly string[] {
  return [...columnGroups(info, NODE_PATHS), ...columnGroups(info, CONNECTION_PATHS)];
}

/** The paging arguments of a list that can only be paged forward. */
export function forwardArguments(size: PageSize) {
  return builder.args(t => ({
    first: t.int({ description: `Number of items; ${size.default} by default, at most ${size.max}.` }),
    after: t.string({ description: 'Returns the items after this cursor.' }),
  }));
}

/** The paging arguments of a list that can be paged in both directions. */
export function pagingArguments(size: PageSize) {
  return builder.args(t => ({
    first: t.int({
      description: `Number of items from the start; ${size.default} if neither \`first\` nor \`last\` is given, at most ${size.max}.`,
    }),
    after: t.string({ description: 'Returns the items after this cursor.' }),
    last: t.int({ description: `Number of items from the end, at most ${size.max}. Cannot be combined with \`first\`.` }),
    before: t.string({ description: 'Returns the items before this cursor.' }),
  }));
}
