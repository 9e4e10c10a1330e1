import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import type { Viewer } from './viewer.rules.ts';

/**
 * The SQL condition that keeps the rows that the viewer may see.
 * @param agentColumn the column that contains the agent's id
 */
export function visibleAgents(viewer: Viewer, agentColumn: Sql): Sql {
  return viewer.agentIds === null ? Prisma.sql`true` : Prisma.sql`${agentColumn} = any(${[...viewer.agentIds]}::text[])`;
}
