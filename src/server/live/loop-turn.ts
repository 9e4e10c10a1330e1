import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long streams may run in one turn of the event loop before other work gets its turn, in milliseconds. */
const MAX_TURN_MS = 20;

let turnStartedAt: number | null = null;

function isTurnOver(): boolean {
  if (turnStartedAt !== null) return performance.now() - turnStartedAt > MAX_TURN_MS;
  turnStartedAt = performance.now();
  setImmediate(() => {
    turnStartedAt = null;
  });
  return false;
}

async function waitForTurn(): Promise<void> {
  // Many streams continue in the next turn. Only the first of them may still have time in it.
  do await nextTurn();
  while (isTurnOver());
}

/**
 * Lets other work run during a loop that may never wait for I/O: call it before each piece of work, and await what it returns. It returns
 * undefined until streams have run for 20 ms in this turn of the event loop.
 */
export function yieldTurn(): Promise<void> | undefined {
  return isTurnOver() ? waitForTurn() : undefined;
}
