import type { Logger } from '../../log.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';
import type { OpenEventBus } from './event-bus.ts';

const CHANNEL = 'sessiongraph_events';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

/** A half-open connection shows only when something is sent over it. */
const HEARTBEAT_MS = 30_000;

/**
 * Wake-ups by LISTEN and NOTIFY on a connection of their own. A lost connection is made again, with growing pauses while that
 * fails, and the listener is then told to look.
 */
export function createPostgresBus({ url, log }: { readonly url: string; readonly log: Logger }): OpenEventBus {
  return async listener => {
    let closed = false;
    let retryMs = FIRST_RETRY_MS;
    let timer: NodeJS.Timeout | undefined;
    let highest = 0n;
    let sending = false;

    const link = new ReconnectingConnection({
      url,
      log,
      name: 'sessiongraph bus',
      setup: `listen ${CHANNEL}`,
      onConnected: () => listener(null),
      onNotification: ({ payload }) => listener(payload !== undefined && /^\d{1,19}$/.test(payload) ? BigInt(payload) : null),
      onLost: () => checkAfter(0),
    });

    function checkAfter(delayMs: number): void {
      clearTimeout(timer);
      if (closed) return;
      timer = setTimeout(() => void check(), delayMs);
      timer.unref();
    }

    async function check(): Promise<void> {
      try {
        await link.query('select 1');
        retryMs = FIRST_RETRY_MS;
        checkAfter(HEARTBEAT_MS);
      } catch (error) {
        log.debug({ reason: String(error) }, 'cannot listen for wake-ups; the poll stands in');
        checkAfter(retryMs);
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
      }
    }

    async function send(): Promise<void> {
      sending = true;
      for (let sent = 0n; sent < highest && !closed; ) {
        sent = highest;
        await link.query({ text: 'select pg_notify($1, $2)', values: [CHANNEL, String(sent)] }).catch(() => undefined);
      }
      sending = false;
    }

    await check();
    return {
      announce(lastSeq) {
        // Those that come while one is on its way are told together.
        if (lastSeq > highest) highest = lastSeq;
        if (!sending) void send();
      },
      async close() {
        closed = true;
        clearTimeout(timer);
        await link.close();
      },
    };
  };
}
