import pino, { type Logger } from 'pino';

export type { Logger } from 'pino';

/** Lines wait in memory until they are this long together, in characters, or for this time, in milliseconds. */
const BUFFER_LENGTH = 8_192;
const FLUSH_MS = 100;

/**
 * Creates a logger that writes JSON lines to standard error; standard output has text for people. Lines are written in batches, because a
 * write for each request costs about a tenth of a small one. The rest is written when the process exits, also after an error that ends it;
 * only a process that is killed loses its last lines.
 */
export function createLog(level: string): Logger {
  const destination = pino.destination({ dest: 2, sync: false, minLength: BUFFER_LENGTH });
  setInterval(() => destination.flush(), FLUSH_MS).unref();
  process.on('exit', () => destination.flushSync());
  return pino({ level, base: null, timestamp: createTimestamps() }, destination);
}

/** The field `time` of a line, in ISO 8601. Lines of one millisecond share its text, which takes longer to make than most of a line. */
function createTimestamps(): () => string {
  let lastTime = Number.NaN;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== lastTime) text = `,"time":"${new Date(now).toISOString()}"`;
    lastTime = now;
    return text;
  };
}
