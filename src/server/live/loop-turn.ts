import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long streams may keep the process from everything else, in milliseconds. */
const MAX_TURN_MS = 20;

let began: number | null = null;

/**
 * To be awaited by a loop that may go on and on without ever waiting for input or output: resolves at once while this turn of the event loop
 * is young, else in the next one. All who call it share the turn.
 */
export function yieldTurn(): Promise<void> | undefined {
  if (began !== null) return performance.now() - began > MAX_TURN_MS ? nextTurn() : undefined;
  began = performance.now();
  setImmediate(() => {
    began = null;
  });
  return undefined;
}
