import type { Logger } from '../../log.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';
import { Announcer, type OpenEventBus, parseAnnouncement } from './event-bus.ts';

const CHANNEL = 'sessiongraph_events';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

/** How often a statement checks the connection: a half-open connection is noticed only when something is sent. */
const HEARTBEAT_MS = 30_000;

/**
 * A bus that uses LISTEN and NOTIFY on a connection of its own. If the connection is lost, the bus reconnects, with growing pauses between the
 * attempts. It then calls the listener with null.
 */
export function createPostgresBus({ url, log }: { readonly url: string; readonly log: Logger }): OpenEventBus {
  return async listener => {
    let isClosed = false;
    let retryMs = FIRST_RETRY_MS;
    let timer: NodeJS.Timeout | undefined;

    const connection = new ReconnectingConnection({
      url,
      log,
      name: 'sessiongraph bus',
      setup: `listen ${CHANNEL}`,
      onConnected: () => listener(null),
      onNotification: ({ payload }) => listener(parseAnnouncement(payload)),
      onLost: () => checkAfter(0),
    });
    const announcer = new Announcer(text => connection.query({ text: 'select pg_notify($1, $2)', values: [CHANNEL, text] }));

    function checkAfter(delayMs: number): void {
      clearTimeout(timer);
      if (isClosed) return;
      timer = setTimeout(() => void check(), delayMs);
      timer.unref();
    }

    async function check(): Promise<void> {
      try {
        await connection.query('select 1');
        retryMs = FIRST_RETRY_MS;
        checkAfter(HEARTBEAT_MS);
      } catch (error) {
        log.debug({ reason: String(error) }, 'cannot listen for wake-ups; polling the event log instead');
        checkAfter(retryMs);
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
      }
    }

    await check();
    return {
      announce: lastSeq => announcer.announce(lastSeq),
      async close() {
        isClosed = true;
        announcer.close();
        clearTimeout(timer);
        await connection.close();
      },
    };
  };
}
