import type { ClientBase } from 'pg';
import type { KeyRules } from '../../modules/session-key/session-key.rules.ts';
import type { SourceSession } from '../source.ts';

/** How sessions are written. */
export interface ImportWriterOptions {
  readonly rules: KeyRules;
  /** A session WORKING or SPAWNING without activity for so long comes in STALLED. */
  readonly stalledAfterMs: number;
  /** Reads and compares, and writes nothing. */
  readonly dryRun: boolean;
  /** Canonical keys at the source, by the UUID of the session that has them. */
  readonly keysAtSource: ReadonlyMap<string, string>;
}

/** What every step of the import of one session works with. */
export interface ImportContext {
  /** In the transaction of this session. */
  readonly client: ClientBase;
  readonly source: SourceSession;
  readonly options: ImportWriterOptions;
  /** Taken under the session's lock, so that no write counts as made before one that it waited for. */
  readonly now: Date;
  /** Puts something about the session into the report of the import. */
  report(reason: string, detail: string): void;
}
