import type { KeyRules } from '../../modules/session-key/session-key.rules.ts';
import type { Executor } from '../../postgres/database.ts';
import type { SourceSession } from '../source.ts';

/** How sessions are imported. */
export interface ImportOptions {
  readonly rules: KeyRules;
  /** A WORKING or SPAWNING session that was inactive for longer than this is imported as STALLED. */
  readonly stalledAfterMs: number;
  /** Reads and compares, but writes nothing. */
  readonly dryRun: boolean;
  /** UUIDs of the sessions for which the source states a key. */
  readonly sessionsWithKey: ReadonlySet<string>;
}

/** What each step of the import of one session needs. */
export interface ImportContext {
  /** The transaction that writes this session. */
  readonly transaction: Executor;
  readonly source: SourceSession;
  readonly options: ImportOptions;
  /** Read after the session was locked, so that it is later than every write the import waited for. */
  readonly now: Date;
  /** Adds a problem of this session to the import's report. */
  report(reason: string, detail: string): void;
}

/** Another writer changed what the import had read before it took the lock. A new attempt reads the new state. */
export class ConcurrentChangeError extends Error {
  override readonly name = 'ConcurrentChangeError';
}
