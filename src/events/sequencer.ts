import type { Logger } from '../log.ts';
import { ReconnectingConnection } from '../postgres/reconnecting-connection.ts';

/** Advisory lock of the database. Only the process that holds it may number events. */
const SEQUENCER_LOCK = 5_279_214_867_316_742n;

const BATCH = 5_000;

/**
 * The shortest time between two runs that writes cause. A run costs as much as several appends, so under load it numbers the events of a few
 * milliseconds together. After a pause in the writes, the first one is numbered at once.
 */
const WAKE_INTERVAL_MS = 5;

/*
 * These settings fix the plan, because the statistics of a new partition can be wrong. Unsequenced rows come from their partial index. An
 * index scan also marks the entries of rows that have been sequenced as dead; a bitmap scan would not. Each update finds its row by primary
 * key. JIT is off because it depends on costs, which these settings make meaningless.
 */
const SETUP = `
set jit = off; set plan_cache_mode = force_generic_plan;
set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
prepare sequence_events as
with fresh as materialized (
  select occurred_at, id, row_number() over (order by id) as ordinal
  from aria_engine.session_events where seq is null order by id limit ${BATCH}
), taken as (
  select count(*) as number from fresh
), moved as (
  update aria_engine.event_log_state set last_seq = last_seq + number from taken where number > 0 returning last_seq, number
), numbered as (
  update aria_engine.session_events e set seq = moved.last_seq - moved.number + fresh.ordinal
  from moved, fresh where e.occurred_at = fresh.occurred_at and e.id = fresh.id
)
select coalesce(moved.last_seq, state.last_seq) as "lastSeq", coalesce(moved.number, 0) as number
from aria_engine.event_log_state state left join moved on true`;

/*
 * One round trip, so a process that stops in the middle cannot keep the lock. Under READ COMMITTED each statement has its own snapshot. The
 * statement that reads unsequenced rows must start after the lock was acquired, or it would not see the numbers of the previous holder.
 */
const RUN = `begin isolation level read committed; select pg_advisory_xact_lock(${SEQUENCER_LOCK}); execute sequence_events; commit`;

/** Assigns committed events their position in the log, `seq`. */
export interface Sequencer {
  /** Numbers committed events soon. Returns immediately and never fails. */
  wake(): void;
  /**
   * Numbers everything that was committed before the call.
   * @returns the end of the log after that
   * @throws the error of pg if the database is unreachable
   */
  run(): Promise<bigint>;
  close(): Promise<void>;
}

export interface SequencerOptions {
  readonly url: string;
  readonly log: Logger;
  /** Called with the end of the log after each run that numbered events. */
  readonly onSequenced: (lastSeq: bigint) => void;
}

/**
 * A sequencer with a connection of its own. Several processes may run one on the same log: a blocking advisory lock lets one run at a time,
 * and each run numbers all committed events in the order of their ids. So a late commit is not skipped, and an open transaction does not
 * delay the events of others. At most one run is in flight and one queued, no matter how often `wake` is called.
 */
export function createSequencer({ url, log, onSequenced }: SequencerOptions): Sequencer {
  const connection = new ReconnectingConnection({ url, log, name: 'sessiongraph sequencer', setup: SETUP });
  let inFlight: Promise<unknown> = Promise.resolve();
  let queued: Promise<bigint> | null = null;
  let isClosed = false;
  let wokenAt = Number.NEGATIVE_INFINITY;
  let wakeTimer: NodeJS.Timeout | null = null;

  async function runBatch(): Promise<{ readonly lastSeq: bigint; readonly number: number }> {
    const results = await connection.query(RUN);
    const row: { lastSeq: string; number: string } | undefined = results[2]?.rows[0];
    if (row === undefined) throw new Error('The row of aria_engine.event_log_state is missing.');
    return { lastSeq: BigInt(row.lastSeq), number: Number(row.number) };
  }

  async function sequence(): Promise<bigint> {
    for (;;) {
      // The connection may have been lost since the last run, so try once more. A second run does no harm.
      const { lastSeq, number } = await runBatch().catch(error => (isClosed ? Promise.reject(error) : runBatch()));
      if (number > 0) onSequenced(lastSeq);
      if (number < BATCH) return lastSeq;
    }
  }

  function run(): Promise<bigint> {
    if (queued === null) {
      // The run in flight may have read before the caller's commit, so the caller needs a run that starts later.
      const next = inFlight.then(() => {
        queued = null;
        return sequence();
      });
      inFlight = next.catch(() => undefined);
      queued = next;
    }
    return queued;
  }

  function sequenceNow(): void {
    wakeTimer = null;
    wokenAt = performance.now();
    run().catch(error => {
      if (!isClosed) log.warn({ reason: String(error) }, 'cannot sequence events; will retry');
    });
  }

  return {
    run,
    wake() {
      if (wakeTimer !== null || isClosed) return;
      const pause = WAKE_INTERVAL_MS - (performance.now() - wokenAt);
      if (pause <= 0) sequenceNow();
      else wakeTimer = setTimeout(sequenceNow, pause);
    },
    async close() {
      isClosed = true;
      if (wakeTimer !== null) clearTimeout(wakeTimer);
      await connection.close();
    },
  };
}
