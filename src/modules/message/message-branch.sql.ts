import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';

/**
 * The statement that makes the path from a leaf to its root the active branch of a session; all other messages leave it.
 * It follows the path only until it meets the branch that was active, and reads no message before that point.
 * @param sessionId UUID of a session under its lock
 * @param leaf position of the leaf; null if no message is to be active
 * @param since messages from this position on are new, so their `on_branch` is not known yet; 0 to check every message
 */
export function moveBranch(sessionId: string, leaf: number | null, since: number): Sql {
  return Prisma.sql`
    with recursive path(position, parent_position, met) as (
      select m.position, m.parent_position, m.on_branch and m.position < ${since}::bigint
      from aria_engine.chat_messages m where m.session_id = ${sessionId}::uuid and m.position = ${leaf}::bigint
      union all
      select m.position, m.parent_position, m.on_branch and m.position < ${since}::bigint
      from path join aria_engine.chat_messages m on m.session_id = ${sessionId}::uuid and m.position = path.parent_position where not path.met
    )
    update aria_engine.chat_messages m set on_branch = not m.on_branch
    where m.session_id = ${sessionId}::uuid and m.position > (select coalesce(max(position) filter (where met), 0) from path)
      and m.on_branch <> (m.position in (select position from path))`;
}
