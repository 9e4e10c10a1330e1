import DataLoader from 'dataloader';
import { Prisma } from '../../generated/prisma/client.ts';
import { byKey } from '../../postgres/batching.ts';
import { type Database, PREPARED, type Sql } from '../../postgres/database.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { MAX_AMOUNT } from './usage.rules.ts';

/** Usage as read: counts are numbers, cost is in billionths of a US dollar. */
export interface UsageRow {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly totalTokens: number;
  readonly costNanoUsd: number;
}

const COLUMNS = {
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  cacheReadTokens: 'cache_read_tokens',
  cacheWriteTokens: 'cache_write_tokens',
  totalTokens: 'total_tokens',
  costNanoUsd: 'cost_nano_usd',
} as const satisfies Record<keyof UsageRow, string>;

/** Each usage column by its field, and no more than JSON can carry: one absurd report must not cost a whole page its answer. */
function usageColumns(read: (column: Sql) => Sql): Sql {
  return Prisma.join(
    Object.entries(COLUMNS).map(
      ([field, column]) =>
        Prisma.sql`least(${read(Prisma.raw(`a.${column}`))}, ${Prisma.raw(String(MAX_AMOUNT))})::float8 as ${Prisma.raw(`"${field}"`)}`,
    ),
  );
}

/** The usage columns of one row of the table `a` (a session's activity). */
export const USAGE_COLUMNS: Sql = usageColumns(column => column);

/** The same columns summed over the rows of `a`. */
export const USAGE_SUMS: Sql = usageColumns(column => Prisma.sql`coalesce(sum(${column}), 0)`);

/** Reads usage over whole trees of sessions, for one request. */
export class UsageLoader {
  readonly #ofTree: DataLoader<string, UsageRow | null>;

  constructor(database: Database, viewer: Viewer) {
    this.#ofTree = new DataLoader(async ids => {
      // What lies below a session that may not be seen is no descendant for the viewer.
      const visible = viewer.agentIds === null ? Prisma.empty : Prisma.sql` and ${visibleAgents(viewer, Prisma.sql`child.agent_id`)}`;
      // `offset 0` keeps each session of a tree one look by its id: the planner takes trees for far larger than they are.
      const rows = await database.rows<UsageRow & { root: string }>(Prisma.sql`${Prisma.raw(PREPARED)}
        with recursive tree(root, id) as (
          select r.id, r.id from unnest(${[...ids]}::uuid[]) r(id)
          union
          select tree.root, child.id from tree join aria_engine.chat_sessions child on child.parent_id = tree.id${visible}
        )
        select tree.root, ${USAGE_SUMS}
        from tree cross join lateral (
          select a.*, s.deleted_at from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
          where s.id = tree.id and ${visibleAgents(viewer, Prisma.sql`s.agent_id`)} offset 0
        ) a
        where a.deleted_at is null or tree.id = tree.root
        group by tree.root`);
      return byKey(ids, rows, row => row.root);
    });
  }

  /**
   * What a session and all its descendants used, each counted once; those in the trash are left out, the session itself is not.
   * Null where there is no such session. One statement for all sessions asked.
   */
  ofTree(sessionId: string): Promise<UsageRow | null> {
    return this.#ofTree.load(sessionId);
  }
}
