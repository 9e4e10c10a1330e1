import type { Config } from '../config.ts';
import { keepEventPartitions } from '../events/partitions.ts';
import type { Logger } from '../log.ts';
import { sweepIdempotencyKeys } from './idempotency-purge.ts';
import { stallSessions } from './stalled-sessions.ts';
import type { SweepTask } from './sweeper.ts';
import { purgeTrash } from './trash-purge.ts';

const MINUTE_MS = 60_000;

/** How late a session may be seen to have stalled, at most: a tenth of the time it takes it, within these. */
const SOONEST_STALL_MS = 200;
const LATEST_STALL_MS = 2_000;

const STALL_BATCH = 200;
const PURGE_BATCH = 20;

/** What the tasks need. */
export interface SweepTasksOptions {
  readonly config: Pick<Config, 'sessions' | 'events'>;
  /** To be called after a commit that wrote events. */
  readonly eventsWritten: () => void;
  readonly log: Pick<Logger, 'debug'>;
}

/** All that is swept: stalled sessions, the trash, old calls with an idempotency key, and days of the event log. */
export function createSweepTasks({ config: { sessions, events }, eventsWritten, log }: SweepTasksOptions): readonly SweepTask[] {
  return [
    {
      name: 'stalled_sessions',
      everyMs: Math.max(SOONEST_STALL_MS, Math.min(sessions.stalledAfterMs / 10, LATEST_STALL_MS)),
      atOnce: true,
      async sweep(connection, skip) {
        const outcome = await stallSessions(connection, sessions.stalledAfterMs, { size: STALL_BATCH, skip, lost: connection.lost });
        if (outcome.taken > 0) eventsWritten();
        return outcome;
      },
    },
    {
      name: 'trash',
      everyMs: MINUTE_MS,
      atOnce: true,
      async sweep(connection, skip) {
        const outcome = await purgeTrash(connection, sessions.trashDays, { size: PURGE_BATCH, skip, lost: connection.lost });
        if (outcome.taken > 0) eventsWritten();
        return outcome;
      },
    },
    {
      name: 'idempotency_keys',
      everyMs: 5 * MINUTE_MS,
      atOnce: true,
      sweep: connection => sweepIdempotencyKeys(connection),
    },
    {
      name: 'event_partitions',
      everyMs: 60 * MINUTE_MS,
      // Every server has seen to it when it started.
      atOnce: false,
      async sweep({ client }) {
        const { made, dropped } = await keepEventPartitions(client, new Date(), events.retentionMs);
        if (made.length > 0) log.debug({ made }, 'made partitions of the event log');
        return { taken: dropped.length, failed: [], more: false };
      },
    },
  ];
}
