import type { Logger } from '../log.ts';
import { ReconnectingConnection } from '../postgres/reconnecting-connection.ts';

/** Of the whole database: whoever holds it gives numbers to events. */
const SEQUENCER_LOCK = 5_279_214_867_316_742n;

const BATCH = 5_000;

/*
 * The plan is pinned: however wrong the statistics of a fresh partition are, the unsequenced rows come from their partial index
 * (by index scan, which also marks the entries of rows sequenced since as dead; a bitmap scan would not) and each update finds its
 * row by primary key. Costs are then meaningless, and so is what JIT concludes from them.
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
 * One round trip, so that a process that stops in the middle cannot keep the lock. Under READ COMMITTED each statement has its own
 * snapshot: the one that reads unsequenced rows must be taken after the lock is held, else it would not see what the holder before
 * has numbered.
 */
const RUN = `begin isolation level read committed; select pg_advisory_xact_lock(${SEQUENCER_LOCK}); execute sequence_events; commit`;

/** Gives committed events their place in the log. */
export interface Sequencer {
  /** Something was committed: numbers it soon; never fails. */
  wake(): void;
  /**
   * Numbers everything committed before the call.
   * @returns the end of the log, as of after the call
   * @throws the error of pg where the database cannot be reached
   */
  run(): Promise<bigint>;
  close(): Promise<void>;
}

/** What a sequencer needs. */
export interface SequencerOptions {
  readonly url: string;
  readonly log: Logger;
  /** Told the end of the log after every run that numbered something. */
  readonly onSequenced: (lastSeq: bigint) => void;
}

/**
 * A sequencer with a connection of its own. Any number of them, in any number of processes, work on one log: a blocking advisory
 * lock takes them in turn, and each numbers all that is committed by then in the order of the ids. So no event is skipped that was
 * committed late, and no open transaction holds up the others. One run is in flight and one queued, however often it is woken.
 */
export function createSequencer({ url, log, onSequenced }: SequencerOptions): Sequencer {
  const link = new ReconnectingConnection({ url, log, name: 'sessiongraph sequencer', setup: SETUP });
  let inFlight: Promise<unknown> = Promise.resolve();
  let queued: Promise<bigint> | null = null;
  let closed = false;

  async function runBatch(): Promise<{ readonly lastSeq: bigint; readonly number: number }> {
    const results = await link.query(RUN);
    const row: { lastSeq: string; number: string } | undefined = results[2]?.rows[0];
    if (row === undefined) throw new Error('aria_engine.event_log_state has lost its row.');
    return { lastSeq: BigInt(row.lastSeq), number: Number(row.number) };
  }

  async function sequence(): Promise<bigint> {
    for (;;) {
      // A connection may have died unnoticed since the last run; to run again is harmless.
      const { lastSeq, number } = await runBatch().catch(error => (closed ? Promise.reject(error) : runBatch()));
      if (number > 0) onSequenced(lastSeq);
      if (number < BATCH) return lastSeq;
    }
  }

  function run(): Promise<bigint> {
    if (queued === null) {
      // The run in flight may have looked before the caller's commit: only one that starts from here on will do.
      const next = inFlight.then(() => {
        queued = null;
        return sequence();
      });
      inFlight = next.catch(() => undefined);
      queued = next;
    }
    return queued;
  }

  return {
    run,
    wake() {
      run().catch(error => {
        if (!closed) log.warn({ reason: String(error) }, 'events wait to be sequenced until the next try');
      });
    },
    async close() {
      closed = true;
      await link.close();
    },
  };
}
