import type { Logger } from '../../log.ts';
import type { OperationObserver } from './operation-watch.ts';

const MAX_NAME_LENGTH = 128;

/** Logs one line for each finished operation. It contains no variables, no content and no credentials. */
export function createRequestLog(log: Logger): OperationObserver {
  return {
    ended({ requestId, traceId, transport, type, name, viewer, codes, errorIds, durationMs, events }) {
      const line = {
        requestId,
        traceId: traceId ?? undefined,
        transport,
        type: type ?? undefined,
        operation: name?.slice(0, MAX_NAME_LENGTH),
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
