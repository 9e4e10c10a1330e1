import { isTerminal } from '../../src/modules/session/session.rules.ts';
import type { RandomSource } from './random-source.ts';
import type { SeedStatus, SessionOutline } from './session-outline.ts';

const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** All instants of the data lie in a window of this length. */
export const WINDOW = 30 * DAY;
/** Longer than the default of STALLED_AFTER. */
const MIN_STALLED = 6 * MINUTE;

/** The instants of one session. */
export interface SessionTimes {
  readonly startedAt: Date;
  readonly lastMessageAt: Date;
  readonly lastActivityAt: Date;
  readonly endedAt: Date | null;
  /** When the session was archived, pinned, superseded or moved to the trash. */
  readonly markedAt: Date | null;
}

/** What the instants of a session depend on besides its outline. */
export interface TimeConstraints {
  /** The end of the window. */
  readonly until: Date;
  readonly parent: { readonly startedAt: Date; readonly lastActivityAt: Date } | null;
  /** When the session that took over the key began: this session ends then. */
  readonly supersededAt: Date | null;
}

/** Draws a number of milliseconds between two bounds. */
type DrawTime = (lowest: number, highest: number) => number;

/** Draws the instants of a session. */
export function drawTimes(outline: SessionOutline, constraints: TimeConstraints, random: RandomSource): SessionTimes {
  const { parent, supersededAt } = constraints;
  const until = constraints.until.getTime();
  const earliest = until - WINDOW;
  const between: DrawTime = (lowest, highest) => Math.round(lowest + random.fraction() * (highest - lowest));
  // Low values are likelier: activity is mostly recent, and most sessions are short.
  const skewed: DrawTime = (lowest, highest) => Math.round(lowest + random.fraction() ** 2.2 * (highest - lowest));

  let last = until - drawIdleTime(outline.status, skewed);
  let start = last - skewed(2 * MINUTE, outline.kind === 'CRON' ? 40 * MINUTE : 20 * HOUR);
  if (parent !== null) {
    const parentStart = parent.startedAt.getTime();
    if (isTerminal(outline.status)) {
      // The parent starts the child while it works itself.
      start = between(parentStart, parent.lastActivityAt.getTime());
      const planned = start + skewed(MINUTE, 3 * HOUR);
      last = planned < until ? planned : between(start, until);
    } else if (start < parentStart) {
      // An open child is still in use, and started after its parent.
      last = parentStart < last ? last : between(parentStart, until - (outline.status === 'STALLED' ? MIN_STALLED : 0));
      start = between(parentStart, last);
    }
  }
  if (supersededAt !== null) {
    last = supersededAt.getTime() - between(MINUTE, 2 * HOUR);
    start = last - skewed(10 * MINUTE, 2 * DAY);
  }
  start = Math.max(start, earliest);
  last = Math.max(last, start);

  const ended = isTerminal(outline.status) ? Math.min(last + between(200, 20 * SECOND), until) : null;
  const marked = outline.mark === 'none' ? null : supersededAt === null ? skewed(ended ?? last, until) : supersededAt.getTime();
  const endedAt = supersededAt === null ? ended : supersededAt.getTime();
  return {
    startedAt: new Date(start),
    // The last activity of some sessions is a report of progress after the last message.
    lastMessageAt: new Date(random.chance(0.25) ? between(Math.max(start, last - 5 * SECOND), last) : last),
    lastActivityAt: new Date(last),
    endedAt: endedAt === null ? null : new Date(endedAt),
    markedAt: marked === null ? null : new Date(marked),
  };
}

/** Milliseconds from the last activity to the end of the window. */
function drawIdleTime(status: SeedStatus, skewed: DrawTime): number {
  switch (status) {
    case 'STALLED':
      return skewed(MIN_STALLED, DAY);
    case 'ACTIVE':
      return skewed(MINUTE, 12 * DAY);
    default:
      return skewed(MINUTE, WINDOW - 2 * DAY);
  }
}
