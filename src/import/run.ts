import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import type { KeyRules } from '../modules/session-key/session-key.rules.ts';
import { type DedicatedConnection, openDedicatedConnection } from '../postgres/dedicated-connection.ts';
import { isWriteConflict, withRetry } from '../postgres/sql-state.ts';
import type { ImportReport, ImportReportBuilder, SessionOutcome } from './report.ts';
import type { ImportSource, SourceSession } from './source.ts';
import { ConcurrentChangeError, type ImportOptions } from './writer/import-context.ts';
import { importSession } from './writer/session-import.ts';

/** What to import, and into which database. */
export interface ImportRun {
  readonly source: ImportSource;
  /** What the source reported while it was opened; the run adds to it. */
  readonly report: ImportReportBuilder;
  readonly rules: KeyRules;
  readonly stalledAfterMs: Config['sessions']['stalledAfterMs'];
  /** A migrated database. */
  readonly databaseUrl: string;
  readonly log: Pick<Logger, 'debug' | 'warn'>;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Imports every session of a source, each in its own transaction: a session that fails is listed in the report, and the run continues
 * with the next. A second run of an unchanged source writes nothing.
 * @throws errors of reading the source's list of sessions
 */
export async function runImport({ source, report, rules, stalledAfterMs, databaseUrl, log }: ImportRun): Promise<ImportReport> {
  const options: ImportOptions = { rules, stalledAfterMs, dryRun: report.dryRun, sessionsWithKey: source.sessionsWithKey };
  let connection: DedicatedConnection | null = null;
  try {
    for await (const session of source.sessions()) {
      const name = session.records?.name ?? session.fields.key ?? session.externalId;
      try {
        connection = await usableConnection(connection, databaseUrl);
        report.addOutcome(await importWithRetry(connection, session, options));
        log.debug({ session: session.id, name }, 'imported a session');
      } catch (error) {
        log.warn({ session: session.id, name, err: error }, 'could not import a session');
        report.addFailure(name, error);
      }
    }
  } finally {
    await connection?.close();
  }
  return report.build();
}

/** A lost connection fails the session that is being written. The next session gets a new one. */
async function usableConnection(connection: DedicatedConnection | null, url: string): Promise<DedicatedConnection> {
  if (connection !== null && !connection.lost.aborted) return connection;
  return openDedicatedConnection({ url, name: 'sessiongraph import', connectTimeoutMs: CONNECT_TIMEOUT_MS });
}

/** Tries again if another writer was faster: the import reads a session before it locks it. */
function importWithRetry(connection: DedicatedConnection, session: SourceSession, options: ImportOptions): Promise<SessionOutcome> {
  return withRetry(
    () => connection.transaction(transaction => importSession(transaction, session, options)),
    error => error instanceof ConcurrentChangeError || isWriteConflict(error),
  );
}
