import pino, { type Logger } from 'pino';

export type { Logger } from 'pino';

/** A JSON logger on standard error, written synchronously so that a crash loses no line; standard output stays for people. */
export function createLog(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
}
