import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long streams may run in one turn of the event loop before other work gets its turn, in milliseconds. */
const MAX_TURN_MS = 20;

let turnStartedAt: number | null = null;

/**
 * Lets other work run between the iterations of a loop that may never wait for I/O: wait for the result in every iteration. Resolves
 * immediately if the current turn of the event loop is young, and otherwise in the next turn. All callers share the turn.
 */
export function yieldTurn(): Promise<void> | undefined {
  if (turnStartedAt !== null) return performance.now() - turnStartedAt > MAX_TURN_MS ? nextTurn() : undefined;
  turnStartedAt = performance.now();
  setImmediate(() => {
    turnStartedAt = null;
  });
  return undefined;
}
