import { Prisma } from '../../generated/prisma/client.ts';
import type { Database } from '../../postgres/database.ts';
import { allOf, type PageWindow } from '../../postgres/keyset.ts';
import { type SessionList, SessionLoader, type SessionRow } from '../session/session.loader.ts';
import { LISTED } from '../session-filter/session-filter.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

/** What a list holds: the part of a list that is watched, and how it is read. */
export interface WatchedList extends SessionList {
  readonly window: PageWindow;
  /** The column groups read of each session. */
  readonly groups: readonly string[];
  readonly withTotal: boolean;
  /** Spans of inactivity, in minutes, at whose end the list changes without any write. */
  readonly activityWindows: readonly number[];
}

/** A session as read, and what tells whether its row is the same. */
export interface StampedSession extends SessionRow {
  readonly stamp: string;
}

/** A list as read by fresh statements. */
export interface ReadList {
  readonly rows: readonly StampedSession[];
  /** How many sessions the whole list has; null where that is not wanted. */
  readonly total: number | null;
  /** In how many milliseconds it may change by the clock alone; null for never. */
  readonly changesInMs: number | null;
}

/**
 * Reads the first sessions of a list as they stand now, by one statement; one more for the total, and one where it depends on the clock.
 * Whatever was committed before the call is in.
 */
export async function readList(database: Database, viewer: Viewer, list: WatchedList): Promise<ReadList> {
  const sessions = new SessionLoader(database, viewer);
  // Before the rest: an instant that passes between the statements is then seen twice rather than never.
  const changesInMs = await nextByClock(database, viewer, list);
  const [page, total] = await Promise.all([
    sessions.page(list, list.window, [...list.groups, 'stamp']),
    list.withTotal ? sessions.count(list) : null,
  ]);
  return { rows: page.rows.map(stamped), total, changesInMs };
}

function stamped(row: SessionRow): StampedSession {
  const { stamp } = row;
  if (stamp === undefined) throw new Error('The stamps of this list were not read.');
  return { ...row, stamp };
}

async function nextByClock(database: Database, viewer: Viewer, list: WatchedList): Promise<number | null> {
  if (list.activityWindows.length === 0) return null;
  const visible = visibleAgents(viewer, Prisma.sql`a.agent_id`);
  // The index by activity is a partial one.
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
