import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long streams may run in one turn of the event loop before other work gets its turn, in milliseconds. */
const MAX_TURN_MS = 20;

let turnStartedAt: number | null = null;

/**
 * Lets other work run during a loop that may never wait for I/O: await it in every iteration. It resolves immediately until streams have run
 * for 20 ms in this turn of the event loop, and then in the next turn.
 */
export function yieldTurn(): Promise<void> | undefined {
  if (turnStartedAt !== null) return performance.now() - turnStartedAt > MAX_TURN_MS ? nextTurn() : undefined;
  turnStartedAt = performance.now();
  setImmediate(() => {
    turnStartedAt = null;
  });
  return undefined;
}
