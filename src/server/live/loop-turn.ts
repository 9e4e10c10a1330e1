/** How long streams may run in one turn of the event loop before other work gets its turn, in milliseconds. */
const MAX_TURN_MS = 20;

let turnStartedAt: number | null = null;

/** Continue the streams that wait for a turn, the longest waiting one first: `continuing` from `place`, then `waiting`. */
let continuing: readonly (() => void)[] = [];
let place = 0;
let waiting: (() => void)[] = [];
let isScheduled = false;

function isTurnOver(): boolean {
  if (turnStartedAt !== null) return performance.now() - turnStartedAt > MAX_TURN_MS;
  turnStartedAt = performance.now();
  setImmediate(() => {
    turnStartedAt = null;
  });
  return false;
}

/** Lets the next waiting stream run, and after it the others while the turn has time. */
function continueNext(): void {
  if (place === continuing.length) {
    continuing = waiting;
    waiting = [];
    place = 0;
  }
  const next = continuing[place++];
  if (next === undefined) {
    place = 0;
    isScheduled = false;
    return;
  }
  next();
  // A tick that is set in a microtask runs after all microtasks, so after the stream. One that is set here would run before it.
  queueMicrotask(() => process.nextTick(continueInTurn));
}

function continueInTurn(): void {
  if (isTurnOver()) setImmediate(startTurn);
  else continueNext();
}

function startTurn(): void {
  isTurnOver();
  continueNext();
}

function waitForTurn(): Promise<void> {
  if (!isScheduled) {
    isScheduled = true;
    setImmediate(startTurn);
  }
  return new Promise(resolve => waiting.push(resolve));
}

/**
 * Lets other work run during a loop that may never wait for I/O: call it before each piece of work, and await what it returns. It returns
 * undefined until streams have run for 20 ms in this turn of the event loop.
 */
export function yieldTurn(): Promise<void> | undefined {
  return isTurnOver() ? waitForTurn() : undefined;
}
