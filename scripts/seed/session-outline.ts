import type { SessionStatus } from '../../src/modules/session/session.rules.ts';
import type { SessionKind } from '../../src/modules/session-key/session-key.rules.ts';
import type { RandomSource } from './random-source.ts';

/** A status of a seeded session. None is SPAWNING or WORKING: the sweeper would mark it as STALLED a few minutes later. */
export type SeedStatus = Exclude<SessionStatus, 'SPAWNING' | 'WORKING'>;

/** How a session is marked besides its status; `superseded`: a newer session has its key. */
export type SessionMark = 'none' | 'archived' | 'pinned' | 'trashed' | 'superseded';

/** What is decided about a session before its details are drawn. */
export interface SessionOutline {
  readonly kind: SessionKind;
  readonly status: SeedStatus;
  readonly mark: SessionMark;
}

/** The first sessions have every seeded status, every kind and every mark: even a small seed shows them all. */
export const SHOWCASE: readonly SessionOutline[] = [
  { kind: 'MAIN', status: 'ACTIVE', mark: 'pinned' },
  { kind: 'SUBAGENT', status: 'ACTIVE', mark: 'none' },
  { kind: 'SUBAGENT', status: 'STALLED', mark: 'none' },
  { kind: 'DIRECT', status: 'ACTIVE', mark: 'none' },
  { kind: 'GROUP', status: 'ACTIVE', mark: 'none' },
  { kind: 'SUBAGENT', status: 'COMPLETED', mark: 'none' },
  { kind: 'CRON', status: 'COMPLETED', mark: 'none' },
  { kind: 'OTHER', status: 'STALLED', mark: 'none' },
  { kind: 'SUBAGENT', status: 'FAILED', mark: 'none' },
  { kind: 'DIRECT', status: 'ENDED', mark: 'archived' },
  { kind: 'HOOK', status: 'TERMINATED', mark: 'none' },
  { kind: 'NODE', status: 'ACTIVE', mark: 'none' },
  { kind: 'GLOBAL', status: 'ACTIVE', mark: 'none' },
  { kind: 'UNKNOWN', status: 'ENDED', mark: 'none' },
  { kind: 'DIRECT', status: 'ENDED', mark: 'superseded' },
  { kind: 'OTHER', status: 'COMPLETED', mark: 'trashed' },
  { kind: 'MAIN', status: 'ENDED', mark: 'superseded' },
];

/** A random outline, by how often each kind, status and mark occurs. */
export function drawOutline(random: RandomSource): SessionOutline {
  const kind = random.weighted<SessionKind>([
    ['DIRECT', 27],
    ['SUBAGENT', 24],
    ['CRON', 15],
    ['GROUP', 13],
    ['OTHER', 10],
    ['HOOK', 4],
    ['NODE', 3],
    ['MAIN', 3],
    ['GLOBAL', 0.5],
    ['UNKNOWN', 0.5],
  ]);
  const status = random.weighted<SeedStatus>([
    ['COMPLETED', 43],
    ['ENDED', 22],
    ['ACTIVE', 18],
    ['FAILED', 8],
    ['STALLED', 5],
    ['TERMINATED', 4],
  ]);
  const mark = random.weighted<SessionMark>([
    ['none', 82],
    ['archived', 7],
    ['pinned', 3],
    ['trashed', 4],
    ['superseded', 4],
  ]);
  return { kind, status, mark };
}
