import DataLoader from 'dataloader';
import { Prisma } from '../../generated/prisma/client.ts';
import { byKey } from '../../postgres/batching.ts';
import { type Executor, PREPARED } from '../../postgres/database.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import type { UsageRow } from './usage.rules.ts';
import { USAGE_SUMS } from './usage.sql.ts';

/** Reads the usage of trees of sessions for one operation. */
export class UsageLoader {
  readonly #ofTree: DataLoader<string, UsageRow | null>;

  constructor(database: Executor, viewer: Viewer) {
    this.#ofTree = new DataLoader(async ids => {
      // The descendants of a session that the viewer may not see do not count either.
      const visible = viewer.agentIds === null ? Prisma.empty : Prisma.sql` and ${visibleAgents(viewer, Prisma.sql`child.agent_id`)}`;
      // `offset 0` makes Postgres look up each session of a tree by its id: the planner estimates trees far larger than they are.
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
   * Usage of a session and all its descendants, each counted once. Descendants in the trash do not count; the session itself always does.
   * Null if the session does not exist. Loads for several sessions share a statement.
   */
  ofTree(sessionId: string): Promise<UsageRow | null> {
    return this.#ofTree.load(sessionId);
  }
}
