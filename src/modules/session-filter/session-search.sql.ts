import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import { containsText } from '../text/text.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import type { SessionFilter } from './session-filter.rules.ts';
import { foundIn, sessionConditions } from './session-filter.sql.ts';

/** The parts of a filter with a search. The loader uses them to check the first sessions of a list one by one. */
export interface SessionSearch {
  /** The conditions of the filter without its search. */
  readonly rest: readonly Sql[];
  /** True if the session's own texts or its newest messages contain the term. It reads the messages and not the index of all messages. */
  readonly foundInNewest: Sql;
  /** Number of messages that `foundInNewest` reads. If a session has more, a false `foundInNewest` says nothing about the older ones. */
  readonly newest: number;
}

const NEWEST_MESSAGES = 200;

/**
 * Splits a filter into its top-level `search` and the rest; null if it has no search.
 * @throws DomainError BAD_USER_INPUT
 */
export function sessionSearch(filter: SessionFilter | null | undefined, viewer: Viewer): SessionSearch | null {
  if (filter?.search == null) return null;
  const { search, ...rest } = filter;
  // `offset 0` makes the planner read the range of positions. Without it, Postgres may query the index of all messages once per session.
  const inMessages = Prisma.sql`exists (select from (
    select hit.content from aria_engine.chat_messages hit
    where hit.session_id = s.id and hit.position >= a.next_position - ${NEWEST_MESSAGES}::int offset 0
  ) hit where ${containsText(Prisma.sql`hit.content`, search)})`;
  return {
    rest: sessionConditions(rest, viewer),
    foundInNewest: Prisma.sql`${foundIn(search, inMessages)} is true`,
    newest: NEWEST_MESSAGES,
  };
}
