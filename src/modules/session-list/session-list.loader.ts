import { Prisma } from '../../generated/prisma/client.ts';
import type { Database } from '../../postgres/database.ts';
import { allOf, type PageWindow } from '../../postgres/keyset.ts';
import { type SessionList, SessionLoader, type SessionRow } from '../session/session.loader.ts';
import { LISTED } from '../session-filter/session-filter.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

/** The part of a list that is watched, and what is read of it. */
export interface WatchedList extends SessionList {
  readonly window: PageWindow;
  /** Column groups of the sessions, as for SessionLoader. */
  readonly groups: readonly string[];
  readonly withTotal: boolean;
  /** Times without activity, in minutes, after which a session enters or leaves the list without a write. */
  readonly activityWindows: readonly number[];
}

/** A session of a live list. */
export interface ListedSession extends SessionRow {
  /** Changes with each write to the session's rows. */
  readonly stamp: string;
}

/** A list as it was read. */
export interface ReadList {
  readonly rows: readonly ListedSession[];
  /** Number of sessions of the whole list. Null if `withTotal` is false. */
  readonly total: number | null;
  /** Milliseconds until the list may change without a write. Null for never. */
  readonly changesInMs: number | null;
}

/**
 * Reads the first sessions of a list, as of now: everything committed before the call is included. Sends one statement, one more for the
 * total, and one more if the list depends on the clock.
 */
export async function readList(database: Database, viewer: Viewer, list: WatchedList): Promise<ReadList> {
  const sessions = new SessionLoader(database, viewer);
  // First, so that a change by the clock between the statements is noticed twice and not missed.
  const changesInMs = await msUntilChange(database, viewer, list);
  const [page, total] = await Promise.all([
    sessions.page(list, list.window, [...list.groups, 'stamp']),
    list.withTotal ? sessions.count(list) : null,
  ]);
  return { rows: page.rows.map(withStamp), total, changesInMs };
}

function withStamp(row: SessionRow): ListedSession {
  const { stamp } = row;
  if (stamp === undefined) throw new Error('The column group `stamp` was not read.');
  return { ...row, stamp };
}

async function msUntilChange(database: Database, viewer: Viewer, list: WatchedList): Promise<number | null> {
  if (list.activityWindows.length === 0) return null;
  const visible = visibleAgents(viewer, Prisma.sql`a.agent_id`);
  // Postgres can use the index by activity only with this condition, because the index is partial.
  const conditions = list.conditions.includes(LISTED) ? [visible, LISTED] : [visible];
  const [row] = await database.rows<{ next: number | null }>(Prisma.sql`
    select min(extract(epoch from oldest.active_at + span.length - now()) * 1000)::float8 as next
    from (select make_interval(mins => minutes) as length from unnest(${[...list.activityWindows]}::int[]) minutes) span
    cross join lateral (
      select min(a.last_activity_at) as active_at from aria_engine.chat_session_activity a
      where ${allOf(conditions)} and a.last_activity_at >= now() - span.length
    ) oldest`);
  return row?.next ?? null;
}
