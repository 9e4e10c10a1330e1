import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import { containsPrepared, containsTerm, hasTrigram } from '../text/text.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import type { SessionFilter } from './session-filter.rules.ts';
import { sessionConditions, sessionsWith, textsContain } from './session-filter.sql.ts';

/** The parts of a filter with a search. The loader uses them to check the first sessions of a list one by one. */
export interface SessionSearch {
  /** The conditions of the filter without its search. */
  readonly rest: readonly Sql[];
  /** True if the session's own texts or its newest messages contain the term. It reads the messages and not the index of all messages. */
  readonly foundInNewest: Sql;
  /** Number of messages that `foundInNewest` reads. If a session has more, a false `foundInNewest` says nothing about the older ones. */
  readonly newest: number;
  /** A SELECT of the ids of all sessions that contain the term, whatever the rest of the filter. */
  readonly matches: Sql;
  /** The same for a prepared statement; null if the best plan depends on the term. */
  readonly preparedMatches: Sql | null;
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
    select m.content from aria_engine.chat_messages m
    where m.session_id = s.id and m.position >= a.next_position - ${Prisma.raw(String(NEWEST_MESSAGES))} offset 0
  ) m where ${containsTerm(Prisma.sql`m.content`, search)})`;
  return {
    rest: sessionConditions(rest, viewer),
    foundInNewest: Prisma.sql`(${textsContain(search)} or ${inMessages}) is true`,
    newest: NEWEST_MESSAGES,
    matches: sessionsWith(search),
    preparedMatches: hasTrigram(search) ? sessionsWith(search, containsPrepared) : null,
  };
}
