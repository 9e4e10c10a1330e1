import type { Config } from '../config.ts';
import type { Transactor } from '../postgres/database.ts';
import type { CallsInFlight } from './idempotency/calls-in-flight.service.ts';
import type { Viewer } from './viewer/viewer.rules.ts';

/** What a service works with: who calls, on which database, under which settings. */
export interface Caller {
  readonly viewer: Viewer;
  readonly database: Transactor;
  readonly settings: Config['sessions'];
  /** To be called after a commit that wrote events, so that they are sequenced and delivered now rather than with the next poll. */
  readonly eventsWritten: () => void;
  /** Shared by all callers of the process. */
  readonly callsInFlight: CallsInFlight;
}
