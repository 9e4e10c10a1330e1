import type { InterfaceRef, ObjectRef } from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import type { Page, PageSize } from '../postgres/keyset.ts';
import { type BuilderTypes, builder } from './builder.ts';
import { columnGroups } from './look-ahead.ts';

/** A page of rows and the count of the whole list, which is made only when the field is asked for. */
export interface Connection<Row> {
  readonly page: Page<Row>;
  readonly count: () => Promise<number>;
}

interface Edge<Row> {
  readonly page: Page<Row>;
  readonly index: number;
  readonly node: Row;
}

type Ref<Shape> = ObjectRef<SchemaTypes, Shape> | InterfaceRef<SchemaTypes, Shape>;
type SchemaTypes = PothosSchemaTypes.ExtendDefaultTypes<BuilderTypes>;

/** Cursor values are a column group of their own: many pages are read without one of them being asked for. */
const CURSOR = { columns: 'cursor' };

/** Relay's PageInfo, read off the page itself. */
const PageInfo = builder.objectRef<Page<unknown>>('PageInfo').implement({
  description: 'Where a page lies in its list, after the Relay cursor connections specification.',
  fields: t => ({
    hasNextPage: t.boolean({ resolve: page => page.hasNextPage, description: 'More follow. With `before` given, true without looking.' }),
    hasPreviousPage: t.boolean({
      resolve: page => page.hasPreviousPage,
      description: 'More come first. With `after` given, true without looking.',
    }),
    startCursor: t.string({
      nullable: true,
      extensions: CURSOR,
      resolve: page => page.cursorAt(0),
      description: 'Pass as `before` for the page ahead of this one.',
    }),
    endCursor: t.string({
      nullable: true,
      extensions: CURSOR,
      resolve: page => page.cursorAt(page.rows.length - 1),
      description: 'Pass as `after` for the page behind this one.',
    }),
  }),
});

/** What a connection says of its nodes. */
export interface ConnectionOptions {
  /** Plural, lower case, for descriptions: `sessions`. */
  readonly nodes: string;
  readonly totalCount?: string;
}

/** The types `<Name>Connection` and `<Name>Edge` over a node type; the row is the node. */
export function connectionTypes<Row extends object>(name: string, node: Ref<object>, options: ConnectionOptions) {
  const Edge = builder.objectRef<Edge<Row>>(`${name}Edge`).implement({
    description: `One of the ${options.nodes}, and its cursor.`,
    fields: t => ({
      cursor: t.string({
        extensions: CURSOR,
        resolve: edge => edge.page.cursorAt(edge.index) ?? '',
        description: 'Pass as `after` or `before` to continue here.',
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
      nodes: t.field({ type: [node], resolve: ({ page }): readonly object[] => page.rows, description: 'The nodes of `edges`.' }),
      pageInfo: t.field({ type: PageInfo, resolve: ({ page }) => page }),
      totalCount: t.int({
        resolve: connection => connection.count(),
        description: options.totalCount ?? `All ${options.nodes} of the list, on whatever page; counted only when asked for.`,
      }),
    }),
  });
  return { Connection, Edge };
}

const NODE_PATHS = [['nodes'], ['edges', 'node']] as const;
const OWN_PATHS = [['edges'], ['pageInfo']] as const;

/** The column groups that a connection field needs of its rows: those of its nodes, and its own. */
export function connectionGroups(info: GraphQLResolveInfo): readonly string[] {
  return [...columnGroups(info, NODE_PATHS), ...columnGroups(info, OWN_PATHS)];
}

/** The paging arguments of a list that is read from its start only. */
export function forwardArguments(size: PageSize) {
  return builder.args(t => ({
    first: t.int({ description: `How many: ${size.default} where left out, at most ${size.max}.` }),
    after: t.string({ description: 'Only what follows this cursor.' }),
  }));
}

/** The four paging arguments, their descriptions naming the sizes. */
export function pagingArguments(size: PageSize) {
  return builder.args(t => ({
    first: t.int({ description: `How many from the start: ${size.default} where neither size is given, at most ${size.max}.` }),
    after: t.string({ description: 'Only what follows this cursor.' }),
    last: t.int({ description: `How many from the end, at most ${size.max}. Not together with \`first\`.` }),
    before: t.string({ description: 'Only what comes before this cursor.' }),
  }));
}
