import type { Config } from '../config.ts';
import { maintainEventPartitions } from '../events/partitions.ts';
import type { Logger } from '../log.ts';
import type { SweepTask } from './sweeper.ts';
import { purgeIdempotencyKeys } from './tasks/purge-idempotency-keys.ts';
import { purgeTrash } from './tasks/purge-trash.ts';
import { stallSessions } from './tasks/stall-sessions.ts';

const MINUTE_MS = 60_000;

/** Inactive sessions are searched for ten times within `STALLED_AFTER`, but not more or less often than this. */
const MIN_STALL_INTERVAL_MS = 200;
const MAX_STALL_INTERVAL_MS = 2_000;

const STALL_BATCH = 200;
const PURGE_BATCH = 20;

export interface SweepTasksOptions {
  readonly config: Pick<Config, 'sessions' | 'events'>;
  /** Called after a commit that wrote events. */
  readonly eventsWritten: () => void;
  readonly log: Pick<Logger, 'debug'>;
}

/** The sweeper's tasks: stalled sessions, the trash, old idempotency keys, and partitions of the event log. */
export function createSweepTasks({ config: { sessions, events }, eventsWritten, log }: SweepTasksOptions): readonly SweepTask[] {
  return [
    {
      name: 'stalled_sessions',
      everyMs: Math.max(MIN_STALL_INTERVAL_MS, Math.min(sessions.stalledAfterMs / 10, MAX_STALL_INTERVAL_MS)),
      runsAtStart: true,
      async sweep(connection, skip) {
        const outcome = await stallSessions(connection, sessions.stalledAfterMs, { size: STALL_BATCH, skip, lost: connection.lost });
        if (outcome.taken > 0) eventsWritten();
        return outcome;
      },
    },
    {
      name: 'trash',
      everyMs: MINUTE_MS,
      runsAtStart: true,
      async sweep(connection, skip) {
        const outcome = await purgeTrash(connection, sessions.trashDays, { size: PURGE_BATCH, skip, lost: connection.lost });
        if (outcome.taken > 0) eventsWritten();
        return outcome;
      },
    },
    {
      name: 'idempotency_keys',
      everyMs: 5 * MINUTE_MS,
      runsAtStart: true,
      sweep: connection => purgeIdempotencyKeys(connection),
    },
    {
      name: 'event_partitions',
      everyMs: 60 * MINUTE_MS,
      // Every server creates them when it starts.
      runsAtStart: false,
      async sweep({ client }) {
        const { created, dropped } = await maintainEventPartitions(client, new Date(), events.retentionMs);
        if (created.length > 0) log.debug({ created }, 'created partitions of the event log');
        return { taken: dropped.length, failed: [], more: false };
      },
    },
  ];
}
