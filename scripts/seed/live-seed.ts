import { setTimeout as delay } from 'node:timers/promises';
import { DomainError, type ErrorCode } from '../../src/errors.ts';
import type { Caller } from '../../src/modules/caller.ts';
import { endSession } from '../../src/modules/session-mutation/session-update.service.ts';
import { runLiveSession } from './live-session.ts';
import type { RandomSource } from './random-source.ts';

/** Settings of a live run. */
export interface LiveSeedOptions {
  readonly caller: Caller;
  readonly random: RandomSource;
  readonly changesPerSecond: number;
  /** Ends the run when aborted. */
  readonly signal: AbortSignal;
}

/** A session of the run that has not ended yet. */
interface OpenSession {
  readonly steps: AsyncGenerator<string, void>;
  /** UUID; null before the session is created. */
  id: string | null;
}

/** Number of sessions that are open at the same time. */
export const LIVE_SESSIONS = 6;

/** What a service throws if another caller has ended or deleted the session. */
const OVER: readonly ErrorCode[] = ['SESSION_NOT_FOUND', 'SESSION_ENDED', 'INVALID_STATUS_TRANSITION'];

/**
 * Keeps a few sessions going until the signal is aborted, then ends them. When a session ends, a new one takes its place.
 * @returns the number of changes made
 */
export async function runLiveSeed({ caller, random, changesPerSecond, signal }: LiveSeedOptions): Promise<number> {
  const open: OpenSession[] = [];
  const openIds = () => open.flatMap(({ id }) => id ?? []);
  let changes = 0;
  while (!signal.aborted) {
    let session = open[random.integer(0, LIVE_SESSIONS - 1)];
    if (session === undefined) {
      session = { steps: runLiveSession({ caller, random, openSessions: openIds() }), id: null };
      open.push(session);
    }
    const { steps } = session;
    const id = await unlessOver(async () => (await steps.next()).value ?? null);
    if (id === null) open.splice(open.indexOf(session), 1);
    else {
      session.id = id;
      changes += 1;
    }
    await delay((1_000 / changesPerSecond) * (0.5 + random.fraction()), undefined, { signal }).catch(() => undefined);
  }
  for (const id of openIds()) await unlessOver(() => endSession(caller, { id, reason: 'The live seed was stopped' }));
  return changes;
}

/** Null if another caller has ended or deleted the session. */
async function unlessOver<Result>(change: () => Promise<Result>): Promise<Result | null> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof DomainError && OVER.includes(error.code)) return null;
    throw error;
  }
}
