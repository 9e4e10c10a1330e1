import type { Logger } from '../../log.ts';
import type { OperationObserver } from './operation-watch.ts';

const MAX_NAME = 128;

/** One line for each operation when it is over: what, how, how long, for whom; no variables, no content, no credentials. */
export function createRequestLog(log: Logger): OperationObserver {
  return {
    ended({ requestId, traceId, transport, type, name, viewer, codes, errorIds, durationMs, events }) {
      const line = {
        requestId,
        traceId: traceId ?? undefined,
        transport,
        type: type ?? undefined,
        operation: name?.slice(0, MAX_NAME),
        viewer: viewer ?? undefined,
        codes: codes.length === 0 ? undefined : codes,
        errorIds: errorIds.length === 0 ? undefined : errorIds,
        durationMs: Math.round(durationMs * 10) / 10,
        events: type === 'subscription' ? events : undefined,
      };
      log.info(line, 'operation');
    },
  };
}
