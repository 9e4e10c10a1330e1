import pino, { type Logger } from 'pino';

export type { Logger } from 'pino';

/**
 * Creates a logger that writes JSON lines to standard error; standard output has text for people. It writes synchronously, so a crash
 * loses no line.
 */
export function createLog(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
}
